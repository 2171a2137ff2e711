package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/api"
)

func userCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "user", Short: "List, invite and offboard people"}
	list := &cobra.Command{
		Use: "list", Short: "List the people who signed in", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			us, err := c.Users(cmd.Context())
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(us)
			}
			var rows [][]string
			for _, u := range us {
				st := "known"
				switch {
				case u.Offboarded:
					st = "offboarded"
				case u.Forgotten:
					st = "forgotten"
				case u.Issuer != "" && time.Now().After(u.Expires):
					st = "sign-in lapsed"
				}
				seen := "never"
				if !u.SignedIn.IsZero() {
					seen = ago(u.SignedIn)
				}
				rows = append(rows, []string{u.ID, st, u.Method, seen, strings.Join(u.Groups, ","), u.Issuer})
			}
			e.table("USER STATE METHOD SIGNED-IN GROUPS ISSUER", rows)
			return nil
		},
	}
	invite := &cobra.Command{
		Use: "invite USER", Short: "Make a one-time link with which a person makes a passkey", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			i, err := c.Invite(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(i)
			}
			fmt.Fprintf(e.stdout, "for %s, once, within 15 minutes:\n%s\n", i.User, i.URL)
			return nil
		},
	}
	offboard := &cobra.Command{
		Use: "offboard USER", Short: "A person left: suspend their agents, end their tasks", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return e.offboard(cmd.Context(), args[0]) },
	}
	c.AddCommand(list, invite, offboard,
		simpleUserCommand(e, "restore", "Take an offboarding back; the person's agents stay suspended", "is a known user again; agents stay suspended until sallyport agent resume", (*api.Client).RestoreUser),
		simpleUserCommand(e, "reset", "A device was lost: sign a person out everywhere, and take their passkeys away", "is signed out everywhere and has no passkey: sallyport user invite", (*api.Client).ResetUser),
		simpleUserCommand(e, "forget", "Let another account of the identity provider take a user id", "belongs to whoever signs in with it next", (*api.Client).ForgetUser))
	return c
}

func simpleUserCommand(e *env, verb, short, done string, do func(*api.Client, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " USER", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			if err := do(c, cmd.Context(), args[0]); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]string{"user": args[0], "done": verb})
			}
			fmt.Fprintf(e.stdout, "user %s %s\n", args[0], done)
			return nil
		},
	}
}
