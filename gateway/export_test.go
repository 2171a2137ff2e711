package gateway

import "github.com/sallyport-dev/sallyport"

// ForgetTrack does what the bound on tracks, or a restart, does to a task.
func ForgetTrack(g *Gateway, id sallyport.ID) { g.tracks.remove(id) }
