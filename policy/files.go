package policy

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Files is the text of a bundle: slash-separated name to bytes. Names ending
// in .cedar are policies, those ending in _test.yaml are their tests.
type Files map[string][]byte

const (
	policySuffix = ".cedar"
	testSuffix   = "_test.yaml"
)

// LoadDir reads the bundle below a directory. Names start with the
// directory's own name ("policies/payments.cedar"). Other files, hidden ones
// and symbolic links are left out.
func LoadDir(dir string) (Files, error) {
	files := Files{}
	base := filepath.Base(filepath.Clean(dir))
	total := 0
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !strings.HasSuffix(name, policySuffix) && !strings.HasSuffix(name, testSuffix) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if total += int(info.Size()); info.Size() > MaxFileBytes || total > MaxBundleBytes || len(files) == MaxFiles {
			return sallyport.Errorf(sallyport.EInvalid, "bundle_too_large",
				"%s: a bundle has at most %d files of at most %d bytes, %d in all", name, MaxFiles, MaxFileBytes, MaxBundleBytes)
		}
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		files[path.Join(base, name)] = text
		return nil
	})
	if err != nil {
		if sallyport.KindOf(err) != sallyport.EInternal {
			return nil, err
		}
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bundle_unreadable",
			Text: fmt.Sprintf("the policy directory %s cannot be read", dir), Err: err}
	}
	return files, nil
}

// Merge returns the union of bundles. A name in two of them is an error.
func Merge(bundles ...Files) (Files, error) {
	all := Files{}
	for _, b := range bundles {
		for name, text := range b {
			if _, twice := all[name]; twice {
				return nil, sallyport.Errorf(sallyport.EConflict, "duplicate_file", "two bundles have a file %s", name)
			}
			all[name] = text
		}
	}
	return all, nil
}

// names lists the files with a suffix, sorted.
func (f Files) names(suffix string) []string {
	var names []string
	for name := range f {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// digest is over the names of the policy files and the digests of their
// bytes, as one canonical JSON object, so that no two bundles share a text.
func (f Files) digest() sallyport.Digest {
	var members []canon.Member
	for _, name := range f.names(policySuffix) {
		sum := canon.Digest(canon.DomainBundle, f[name])
		members = append(members, canon.Member{Name: name, Value: canon.StringValue(sum.String())})
	}
	return canon.Digest(canon.DomainBundle, canon.ObjectValue(members...).Canonical())
}
