package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// benchChild is the other end of a measurement, in a process of its own. It
// ends when its standard input does, so none is left behind.
type benchChild struct {
	command  *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	addrList []string
}

// startChild runs `pvlog bench ca ARGS` until its first line says where to
// search.
func startChild(ctx context.Context, args ...string) (*benchChild, error) {
	c, err := startBench(ctx, append([]string{"ca"}, args...)...)
	if err != nil {
		return nil, err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(errors.New("the servers did not start"), c.close())
	}
	c.addrList = strings.Fields(line)
	return c, nil
}

// startBench runs `pvlog bench ARGS`.
func startBench(ctx context.Context, args ...string) (*benchChild, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	command := exec.CommandContext(ctx, program, append([]string{"bench"}, args...)...)
	command.Stderr = os.Stderr
	// Ctrl-C is for this process, which ends the child by its input.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.WaitDelay = time.Second
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the servers: %w", err)
	}
	return &benchChild{command: command, in: in, out: bufio.NewReader(out)}, nil
}

// ask has the child do something and waits until it is done.
func (c *benchChild) ask(format string, args ...any) error {
	answer, err := c.query(format, args...)
	if err == nil && answer != "done" {
		err = fmt.Errorf("the servers say %q", answer)
	}
	return err
}

// query has the child answer something.
func (c *benchChild) query(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		return "", fmt.Errorf("ask the servers: %w", err)
	}
	answer, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("ask the servers: %w", err)
	}
	return strings.TrimSpace(answer), nil
}

// close ends the child and gives its error.
func (c *benchChild) close() error {
	_ = c.in.Close()
	if err := c.command.Wait(); err != nil {
		return fmt.Errorf("the servers: %w", err)
	}
	return nil
}
