package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// systemData is where state is when nobody says otherwise; with it, the paths of pods' volumes and logs
// are those that storage drivers and log collectors expect of every node.
const systemData = "/var/lib/gantry"

// longestRun leaves room for the names of sockets in a folder: their paths are limited to 107 bytes (unix(7)).
const longestRun = 36

// runDir is for sockets and what does not survive a boot.
func (c *config) runDir() string {
	if dir := c.path("run"); len(dir) <= longestRun {
		return dir
	}
	return "/run/gantry-" + c.id()
}

// id tells the clusters of one machine apart.
func (c *config) id() string {
	sum := sha256.Sum256([]byte(c.data))
	return hex.EncodeToString(sum[:4])
}

func (c *config) kubeletDir() string {
	if c.data == systemData {
		return "/var/lib/kubelet"
	}
	return c.path("kubelet")
}

func (c *config) logDir() string {
	if c.data == systemData {
		return "/var/log/pods"
	}
	return c.path("logs")
}

// cgroupRoot keeps a cluster with data of its own out of the way of others.
func (c *config) cgroupRoot() string {
	if c.data == systemData {
		return ""
	}
	return "gantry-" + c.id()
}

// binDir is the folder of this executable; the plugins, the node stack and the images are below it.
func binDir() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the executables: %w", err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", fmt.Errorf("find the executables: %w", err)
	}
	return filepath.Dir(self), nil
}
