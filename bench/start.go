package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What starts and is started here is the program in starter, which is built in two ways: as go build does it by default, and with
// CGO_ENABLED=0. By default it is linked with the C library, where there is a C compiler, because package net is in it: then each child loads that
// and begins its threads in it. That is what most programs do, and so what the figures are held to; figures of the other have noC in their names.
var startGroup = group{
	name:        "start",
	experiments: startExperiments,
	comparisons: []comparison{
		{what: "start and join a child that does nothing", ours: "spawn", against: "os/exec, the same program", theirs: "os/exec", ask: 1.3},
		{what: "by spawn", ours: "spawn", against: "Python Process, spawn", theirs: "python spawn", faster: 12},
		{what: "by fork", ours: "fork", against: "Python Process, fork, which is one", theirs: "python fork", ask: 2.5},
		{what: "by forkserver, from stock", ours: "forkserver", against: "by spawn", theirs: "spawn", ask: 0.4},
		{what: "", ours: "forkserver", against: "Python Process, forkserver", theirs: "python forkserver", faster: 4},
		{what: "by forkserver, back to back", ours: "forkserver in a row", against: "by spawn", theirs: "spawn", ask: 0.8},
		{what: "", ours: "forkserver in a row", against: "Python Process, forkserver", theirs: "python forkserver", faster: 4},
		{what: "by forkserver, Start alone", ours: "forkserver Start", against: "by spawn, Start alone", theirs: "spawn Start"},
		{what: "with CGO_ENABLED=0: by spawn", ours: "spawn" + noC, against: "Python Process, spawn", theirs: "python spawn", faster: 12},
		{what: "", ours: "spawn" + noC, against: "by spawn, built as by default", theirs: "spawn"},
		{what: "with CGO_ENABLED=0: by forkserver, back to back", ours: "forkserver in a row" + noC, against: "Python Process, forkserver", theirs: "python forkserver", faster: 4},
	},
}

const noC = ", without C"

// buildStarter builds the program in starter, with these settings of the environment instead of those that this process has.
func buildStarter(ctx context.Context, name string, settings ...string) (string, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", missing("the go command, which builds the program that is measured, is not installed")
	}
	cmd := exec.CommandContext(ctx, goTool, "build", "-o", name, "./starter")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CGO_ENABLED=") })
	cmd.Env = append(cmd.Env, settings...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./starter: %w: %s", err, out)
	}
	return name, nil
}

// starter makes an experiment of one of the starter's measurements.
func starter(program, measurement string, n int, suffix string) experiment {
	return experiment{"starter " + measurement + suffix, func(ctx context.Context) (figures, error) {
		found, err := printed(exec.CommandContext(ctx, program, measurement, strconv.Itoa(n)))
		if err != nil {
			return nil, err
		}
		named := make(figures, len(found))
		for name, v := range found {
			named[name+suffix] = v
		}
		return named, nil
	}}
}

func startExperiments(ctx context.Context) ([]experiment, func(), error) {
	const n = 50
	dir, err := os.MkdirTemp("", "bench-start-")
	if err != nil {
		return nil, nil, err
	}
	cleanUp := func() { os.RemoveAll(dir) }
	usual, err := buildStarter(ctx, filepath.Join(dir, "starter"))
	if err != nil {
		cleanUp()
		return nil, nil, err
	}
	without, err := buildStarter(ctx, filepath.Join(dir, "starter-noc"), "CGO_ENABLED=0")
	if err != nil {
		cleanUp()
		return nil, nil, err
	}
	return []experiment{
		starter(usual, "exec", n, ""),
		starter(usual, "spawn", n, ""),
		starter(without, "spawn", n, noC),
		starter(usual, "fork", n, ""),
		starter(usual, "stock", n, ""),
		starter(usual, "row", n, ""),
		python("start.py"),
		starter(without, "row", n, noC),
	}, cleanUp, nil
}
