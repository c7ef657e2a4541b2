package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newImageCommand() *cobra.Command {
	c := &config{}
	cmd := &cobra.Command{Use: "image", Short: "Load and list this machine's images"}
	cmd.PersistentFlags().StringVar(&c.data, "data", defaultData(), "folder of the running gantry's state")
	cmd.AddCommand(
		&cobra.Command{
			Use: "import FILE...", Short: "Load images from OCI layouts or docker archives", Args: cobra.MinimumNArgs(1),
			Long: "Load images into the default runtime. A FILE is an OCI layout, as a folder or a tar file, or an archive\n" +
				"that `docker save` wrote.",
			RunE: func(cmd *cobra.Command, files []string) error { return importImages(cmd, c, files) },
		},
		&cobra.Command{
			Use: "list", Short: "List the images", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return listImages(cmd, c) },
		},
	)
	return cmd
}

func importImages(cmd *cobra.Command, c *config, files []string) error {
	if err := c.complete(); err != nil {
		return err
	}
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		var names []string
		if err := callControl(cmd.Context(), c, "POST", "/images", map[string]string{"path": path}, &names); err != nil {
			return fmt.Errorf("import %s: %w", file, err)
		}
		for _, name := range names {
			fmt.Fprintln(cmd.OutOrStdout(), name)
		}
	}
	return nil
}

func listImages(cmd *cobra.Command, c *config) error {
	if err := c.complete(); err != nil {
		return err
	}
	var list []imageInfo
	if err := callControl(cmd.Context(), c, "GET", "/images", nil, &list); err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tSIZE")
	for _, i := range list {
		for _, name := range shownNames(i) {
			fmt.Fprintf(w, "%s\t%.12s\t%.1fMB\n", name, strings.TrimPrefix(i.ID, "sha256:"), float64(i.Size)/1e6)
		}
	}
	return w.Flush()
}

// shownNames are an image's tags, as one line each, or its name by digest if it has none.
func shownNames(i imageInfo) []string {
	switch {
	case len(i.Tags) > 0:
		return i.Tags
	case len(i.Digests) > 0:
		return i.Digests[:1]
	}
	return []string{"<none>"}
}
