// Command gantry is the whole orchestrator: the control core, the node agent, and the commands that
// start, stop and inspect them.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	setGC()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// quiet are commands whose answer is what a person wants to read.
var quiet = map[string]bool{"down": true, "audit": true}

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "gantry",
		Short:         "A container orchestrator that speaks the Kubernetes API",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var level string
	cmd.PersistentFlags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if quiet[cmd.Name()] && !cmd.Flags().Changed("log-level") {
			level = "warn"
		}
		return setLogger(level)
	}
	cmd.AddCommand(newUpCommand(), newDownCommand(), newServerCommand(), newImageCommand(), newExplainCommand(), newPluginCommand(), newVersionCommand())
	return cmd
}

// setLogger sends everything, the libraries' logs too, through slog.
func setLogger(level string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	h := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})
	slog.SetDefault(slog.New(h))
	// The libraries log at info what is debugging to us.
	quiet := logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: max(l, slog.LevelWarn)}))
	klog.SetLogger(quiet)
	ctrllog.SetLogger(quiet)
	return nil
}
