package main

import "github.com/spf13/cobra"

func benchCommand(e *env) *cobra.Command { return &cobra.Command{Use: "bench"} }
