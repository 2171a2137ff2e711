package sallyport_test
import (
 _ "github.com/cedar-policy/cedar-go"
 _ "github.com/cedar-policy/cedar-go/x/exp/schema/validate"
 _ "modernc.org/sqlite"
 _ "github.com/go-jose/go-jose/v4"
 _ "github.com/modelcontextprotocol/go-sdk/mcp"
 _ "github.com/spf13/cobra"
 _ "github.com/goccy/go-yaml"
 _ "github.com/spiffe/go-spiffe/v2/spiffeid"
 _ "github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
 _ "github.com/rogpeppe/go-internal/testscript"
 _ "pgregory.net/rapid"
 _ "golang.org/x/sync/errgroup"
 _ "golang.org/x/sys/unix"
)
