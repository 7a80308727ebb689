package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// pythonSeconds makes an experiment of a script that does something n times and prints how
// many seconds it took.
func pythonSeconds(figure string, n int, script string, args ...string) experiment {
	return experiment{strings.Join(append([]string{script}, args...), " "), func(ctx context.Context) (figures, error) {
		interpreter, err := exec.LookPath("python3")
		if err != nil {
			return nil, missing("python3 is not installed")
		}
		cmd := exec.CommandContext(ctx, interpreter, append(append([]string{script}, args...), strconv.Itoa(n))...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, err
		}
		seconds, err := strconv.ParseFloat(string(bytes.TrimSpace(out)), 64)
		return figures{figure: seconds / float64(n) * 1e9}, err
	}}
}

// python makes an experiment of a script that prints one line of JSON: an object of figures
// in nanoseconds.
func python(script string, args ...string) experiment {
	return experiment{strings.Join(append([]string{script}, args...), " "), func(ctx context.Context) (figures, error) {
		interpreter, err := exec.LookPath("python3")
		if err != nil {
			return nil, missing("python3 is not installed")
		}
		return printed(exec.CommandContext(ctx, interpreter, append([]string{script}, args...)...))
	}}
}

// printed runs a program that prints one line of JSON: an object of figures.
func printed(cmd *exec.Cmd) (found figures, err error) {
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(bytes.TrimSpace(out), &found); err != nil {
		return nil, fmt.Errorf("%s printed %.100q: %w", cmd, out, err)
	}
	return found, nil
}
