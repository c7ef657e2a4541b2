// Command gantry-cni is the CNI plugin that container runtimes are configured with. It hands each call to
// the node agent and prints its answer, so that the agent decides which network a pod belongs to and keeps
// the ledger. It needs nothing but the standard library, for it is started twice in each pod's life.
//
// While the agent is away, it tries again for a bounded time: a DEL during a restart is not lost.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// request is what the agent is sent, as one line of JSON.
type request struct {
	Command     string          `json:"command"`
	ContainerID string          `json:"containerID,omitempty"`
	NetNS       string          `json:"netns,omitempty"`
	IfName      string          `json:"ifName,omitempty"`
	Args        string          `json:"args,omitempty"`
	Config      json.RawMessage `json:"config,omitempty"`
}

// response is its answer: one of both.
type response struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *cniError       `json:"error,omitempty"`
}

// cniError is what a CNI plugin prints when it fails (CNI specification, "Error").
type cniError struct {
	Version string `json:"cniVersion"`
	Code    int    `json:"code"`
	Message string `json:"msg"`
	Details string `json:"details,omitempty"`
}

func (e *cniError) Error() string { return e.Message + ": " + e.Details }

const (
	specVersion  = "1.1.0"
	tryLater     = 11 // "Try again later"
	badConfig    = 7  // "Invalid network config"
	attachWait   = 30 * time.Second
	detachWait   = 90 * time.Second
	answerWait   = 60 * time.Second
	firstRetry   = 5 * time.Millisecond
	slowestRetry = 250 * time.Millisecond
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		var e *cniError
		if !errors.As(err, &e) {
			e = &cniError{Version: specVersion, Code: tryLater, Message: "call the node agent", Details: err.Error()}
		}
		_ = json.NewEncoder(os.Stdout).Encode(e)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	raw, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	command := os.Getenv("CNI_COMMAND")
	if command == "VERSION" {
		_, err := fmt.Fprintf(out, `{"cniVersion":%q,"supportedVersions":["0.4.0","1.0.0","1.1.0"]}`+"\n", specVersion)
		return err
	}
	var config struct {
		Socket string `json:"socket"`
	}
	if err := json.Unmarshal(raw, &config); err != nil || config.Socket == "" {
		return &cniError{Version: specVersion, Code: badConfig, Message: "read configuration", Details: "it names no socket"}
	}
	line, err := json.Marshal(request{
		Command: command, ContainerID: os.Getenv("CNI_CONTAINERID"), NetNS: os.Getenv("CNI_NETNS"),
		IfName: os.Getenv("CNI_IFNAME"), Args: os.Getenv("CNI_ARGS"), Config: raw,
	})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	wait := attachWait
	if command == "DEL" {
		wait = detachWait
	}
	res, err := call(config.Socket, append(line, '\n'), time.Now().Add(wait))
	if err != nil {
		return err
	}
	if res.Error != nil {
		return res.Error
	}
	if len(res.Result) > 0 {
		_, err = out.Write(append(res.Result, '\n'))
	}
	return err
}

// call asks again when the agent is away or goes away before it has answered: all calls are idempotent.
func call(socket string, line []byte, until time.Time) (*response, error) {
	for pause := firstRetry; ; pause = min(pause*2, slowestRetry) {
		res, err := ask(socket, line)
		if err == nil {
			return res, nil
		}
		if time.Now().Add(pause).After(until) {
			return nil, err
		}
		time.Sleep(pause)
	}
}

func ask(socket string, line []byte) (*response, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(line); err != nil {
		return nil, err
	}
	var res response
	if err := json.NewDecoder(conn).Decode(&res); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return &res, nil
}
