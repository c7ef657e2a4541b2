package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryio/gantry/cmd/gantry/verify"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
)

// verifyConfigs are the configurations with which shipped plugins are verified.
var verifyConfigs = map[string]string{
	"runtime/containerd": `{"Root": "${dir}/r", "State": "${dir}/c", "Stack": "${bin}/stack", "PauseArchive": "${bin}/images/pause.tar",
		"Shim": "${shim}", "AttachSocket": "${attach}"}`,
	"network/cni": `{"Dir": "${dir}/cni", "Addresses": "${dir}/addresses", "BinDirs": ["${bin}/stack/cni"]}`,
}

type verifyFlags struct {
	config, driver, junit, image, archive, report string
	limit                                         time.Duration
}

func newPluginVerifyCommand(connect connector) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use: "verify KIND EXECUTABLE|SOCKET|NAME", Args: cobra.ExactArgs(2),
		Short: "Run a contract's conformance suite against a plugin, on this machine",
		Long: "Run the conformance suite of a KIND (runtime, network, service or scheduler) against an executable, the socket\n" +
			"of a plugin that somebody else runs, or a plugin that Gantry ships. It needs root, and works in a network\n" +
			"namespace and a folder of its own. Of a socket only the contract is verified: nothing is killed.\n" +
			"With --report the result is written to the status of a Plugin, for nodes that take verified plugins only.\n\n" +
			"In the configuration, ${dir} stands for a folder for the plugin's state, ${bin} for the folder of Gantry's\n" +
			"executables, ${shim} and ${attach} for the CNI executable and its socket, which a runtime is to be given.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return verifyPlugin(cmd, connect, f, plugin.Kind(args[0]), args[1])
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "", "file with the plugin's configuration")
	cmd.Flags().StringVar(&f.driver, "name", "", "what the executable calls itself; the end of its file's name when empty")
	cmd.Flags().StringVar(&f.junit, "junit", "", "file to write the results to, as JUnit XML")
	cmd.Flags().StringVar(&f.report, "report", "", "Plugin whose status gets the result")
	cmd.Flags().StringVar(&f.image, "image", "gantry.local/demo:1", "image that a runtime is verified with; its program runs until it gets SIGTERM")
	cmd.Flags().StringVar(&f.archive, "archive", "", "archive to import the image from; that of the demo image when empty")
	cmd.Flags().DurationVar(&f.limit, "limit", 3*time.Minute, "how long a single check may take")
	return cmd
}

func (f verifyFlags) subject(kind plugin.Kind, target string) (verify.Subject, error) {
	bin, err := binDir()
	if err != nil {
		return verify.Subject{}, err
	}
	s := verify.Subject{Kind: kind, Path: target, Bin: bin, Image: f.image, Archive: f.archive}
	prefix := "plugin-" + string(kind) + "-"
	if !strings.Contains(target, "/") {
		s.Path = filepath.Join(bin, "plugins", prefix+target)
	}
	if s.Path, err = filepath.Abs(s.Path); err != nil {
		return s, err
	}
	if s.Driver = f.driver; s.Driver == "" {
		s.Driver = strings.TrimPrefix(filepath.Base(s.Path), prefix)
	}
	if f.config != "" {
		raw, err := os.ReadFile(f.config)
		if err != nil {
			return s, fmt.Errorf("read the configuration: %w", err)
		}
		s.Config = string(raw)
	} else {
		s.Config = verifyConfigs[string(kind)+"/"+s.Driver]
	}
	if s.Archive == "" && f.image == "gantry.local/demo:1" {
		s.Archive = filepath.Join(bin, "images", "demo-1.tar")
	}
	return s, nil
}

// verification is what is run in a network namespace of its own.
type verification func() error

// Run implements what Isolate asks for.
func (v verification) Run() int {
	if err := v(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

// resultVariable names the environment variable with the file into which the result goes that is to be reported.
const resultVariable = "GANTRY_VERIFY_RESULT"

func verifyPlugin(cmd *cobra.Command, connect connector, f verifyFlags, kind plugin.Kind, target string) error {
	s, err := f.subject(kind, target)
	if err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return errors.New("verify a plugin: network namespaces need root")
	}
	result := os.Getenv(resultVariable)
	if f.report != "" && result == "" { // The namespace of the verification has no way to the API.
		dir, err := os.MkdirTemp("", "gantry-verify")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		result = filepath.Join(dir, "result")
		if err := os.Setenv(resultVariable, result); err != nil {
			return err
		}
	}
	code := plugintest.Isolate(verification(func() error {
		w := cmd.OutOrStdout()
		fmt.Fprintf(w, row, "CHECK", "RESULT", "TIME", "PROBLEM")
		results, err := verify.Run(s, f.limit, func(r conformance.Result) { printResult(w, r) })
		if err == nil && result != "" {
			err = writeVerdict(result, s.Path, results)
		}
		if err != nil {
			return err
		}
		return conclude(results, string(kind)+"/"+s.Driver, f.junit)
	}))
	if f.report != "" && !plugintest.Isolated() {
		if err := report(cmd.Context(), connect, f.report, result); err != nil {
			return err
		}
	}
	if code != 0 {
		os.Exit(code) // It was said why.
	}
	return nil
}

// row is a row of the table. Its columns have fixed widths, for each check is shown as soon as it has ended.
const row = "%-58s%-8s%-9s%s\n"

func printResult(w io.Writer, r conformance.Result) {
	verdict, why := "pass", ""
	switch {
	case len(r.Problems) > 0:
		verdict, why = "FAIL", strings.ReplaceAll(r.Problems[0], "\n", " ")
		if n := len(r.Problems); n > 1 {
			why += fmt.Sprintf(" (and %d more)", n-1)
		}
	case r.Skipped != "":
		verdict, why = "skip", r.Skipped
	}
	fmt.Fprintf(w, row, r.Name, verdict, fmt.Sprintf("%.2fs", r.Took.Seconds()), why)
}

func conclude(results []conformance.Result, name, junit string) error {
	if junit != "" {
		out, err := os.Create(junit)
		if err == nil {
			err = errors.Join(conformance.WriteJUnit(out, name, results), out.Close())
		}
		if err != nil {
			return err
		}
	}
	failed := 0
	for _, r := range results {
		if len(r.Problems) > 0 {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%s fails %d of %d checks", name, failed, len(results))
	}
	return nil
}
