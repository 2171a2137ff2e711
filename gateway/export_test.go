package gateway

import "github.com/sallyport-dev/sallyport"

// ForgetTrack does what the bound on tracks, or a restart, does to a task.
func ForgetTrack(g *Gateway, id sallyport.ID) { g.tracks.remove(id) }

// Remembered is of how many tasks the secrets are remembered.
func Remembered(g *Gateway) int { return len(g.secrets.by) }
