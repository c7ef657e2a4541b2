package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

const (
	// version is Gantry's own; kubernetesVersion is the level of the API that it speaks.
	version           = "0.1.0"
	kubernetesVersion = "v1.37.2"
)

func gitVersion() string { return kubernetesVersion + "+gantry" + version }

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "gantry %s (Kubernetes API %s)\n", version, kubernetesVersion)
		},
	}
}
