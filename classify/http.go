package classify

import "github.com/sallyport-dev/sallyport"

func HTTP(m, u string, ops map[string]sallyport.Class) Finding { return Finding{} }
func Path(p string, within []string) Finding                   { return Finding{} }
