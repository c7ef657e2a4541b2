package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/plugin/process"
)

func start(t *testing.T) (process.ID, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	go func() { _ = cmd.Wait() }()
	id, err := process.Find(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return id, cmd
}

func TestLife(t *testing.T) {
	id, _ := start(t)
	if !id.Alive() {
		t.Fatal("a running process is not alive")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := id.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with an ended context: %v", err)
	}
	if err := id.End(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if id.Alive() {
		t.Error("an ended process is alive")
	}
	if err := id.Wait(t.Context()); err != nil {
		t.Errorf("wait for an ended process: %v", err)
	}
	if err := id.Signal(unix.SIGKILL); err != nil {
		t.Errorf("signal an ended process: %v", err)
	}
}

func TestAnotherProcessOfTheSameNumber(t *testing.T) {
	id, _ := start(t)
	other := id
	other.Start++
	if other.Alive() {
		t.Error("a process with another start time is taken for it")
	}
	if err := other.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Error("the wrong process was killed")
	}
	if _, err := (process.ID{}).Open(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("open no process: %v", err)
	}
}
