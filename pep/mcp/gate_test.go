package mcp

import "github.com/sallyport-dev/sallyport/gateway"

// The real gateway is a Gate; the tests of this room use one that permits.
var _ Gate = (*gateway.Gateway)(nil)
