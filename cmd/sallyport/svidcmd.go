package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/identity"
)

func svidCommand(e *env) *cobra.Command {
	var audience, keyFile string
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "svid NAME --audience SERVICE",
		Short: "Mint a short-lived JWT-SVID with the agent's key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			st, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if e.socket == "" && e.gateway != "" {
				gateway, err := gatewayURL(e.gateway)
				if err != nil {
					return err
				}
				if err := callsItself(gateway, st); err != nil {
					return err
				}
			}
			if keyFile == "" {
				keyFile = defaultKeyFile(st.Domain, args[0])
			}
			key, err := identity.LoadAgentKey(keyFile)
			if err != nil {
				return err
			}
			proof, err := identity.Assert(key, st.Issuer, time.Now())
			if err != nil {
				return err
			}
			s, err := c.SVID(cmd.Context(), api.SVIDRequest{Assertion: proof, Audience: audience, TTL: ttl})
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(s)
			}
			fmt.Fprintln(e.stdout, s.SVID)
			return nil
		},
	}
	c.Flags().StringVar(&audience, "audience", "", "the service that is to accept it (required)")
	c.Flags().StringVar(&keyFile, "key", "", "the agent's key file")
	c.Flags().DurationVar(&ttl, "ttl", identity.MaxSVIDTTL, "how long it is good for")
	_ = c.MarkFlagRequired("audience") // the flag was made above
	return c
}

func jwksCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "jwks", Short: "Print the issuer's public keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			k, err := c.JWKS(cmd.Context())
			if err != nil {
				return err
			}
			return e.printJSON(k)
		},
	}
}
