package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	logDir  string
	logSize = int64(250_000_000)
)

var logGroup = group{
	name:        "logs",
	rounds:      3,
	experiments: logExperiments,
	comparisons: []comparison{
		{what: "demo logstats, 8 logs", ours: "logstats", against: "Python ProcessPoolExecutor", theirs: "python logstats", faster: 5},
		{what: "", ours: "logstats", against: "awk, one file after the other", theirs: "awk"},
	},
}

type logStats struct {
	File    string `json:"file"`
	Visits  int64  `json:"visits"`
	Clients int    `json:"clients"`
}

// logExperiments generates the logs, and compares the three programs' results before it
// compares their times.
func logExperiments(ctx context.Context) (_ []experiment, cleanUp func(), err error) {
	dir, err := os.MkdirTemp("", "bench-logs-")
	if err != nil {
		return nil, nil, err
	}
	cleanUp = func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			cleanUp()
		}
	}()
	logs := logDir
	if logs == "" {
		logs = dir
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(logs), &disk); err == nil && logDir == "" {
		if room := int64(disk.Bavail) * disk.Bsize; room < 9*logSize {
			return nil, nil, missing(fmt.Sprintf("there is no room for logs of %d MB in %s; -logs names another directory, -logsize makes them smaller", 8*logSize/1e6, filepath.Dir(logs)))
		}
	}
	for _, build := range [][]string{
		{"go", "build", "-o", filepath.Join(dir, "genlogs"), "./genlogs"},
		{"go", "build", "-C", "..", "-o", filepath.Join(dir, "demo"), "./cmd/demo"},
		{filepath.Join(dir, "genlogs"), "-dir", logs, "-files", "8", "-size", strconv.FormatInt(logSize, 10)},
	} {
		cmd := exec.CommandContext(ctx, build[0], build[1:]...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", build[0], err)
		}
	}
	var names []string
	for i := range 8 {
		names = append(names, filepath.Join(logs, fmt.Sprintf("access-%d.log", i+1)))
	}

	// What the programs said, which has to be the same.
	var said []logStats
	agree := func(who string, stats []logStats) error {
		if said == nil {
			said = stats
		}
		if !reflect.DeepEqual(said, stats) {
			return fmt.Errorf("%s says %v, another program %v", who, stats, said)
		}
		return nil
	}
	asJSON := func(name string, command ...string) experiment {
		return experiment{name, func(ctx context.Context) (figures, error) {
			if _, err := exec.LookPath(command[0]); err != nil {
				return nil, missing(command[0] + " is not installed")
			}
			var out bytes.Buffer
			cmd := exec.CommandContext(ctx, command[0], append(command[1:], names...)...)
			cmd.Stdout, cmd.Stderr = &out, os.Stderr
			ns, err := perOp(1, cmd.Run)
			if err != nil {
				return nil, err
			}
			var stats struct{ Files []logStats }
			if err := json.Unmarshal(out.Bytes(), &stats); err != nil {
				return nil, err
			}
			return figures{name: ns}, agree(name, stats.Files)
		}}
	}
	awk := experiment{"awk", func(ctx context.Context) (figures, error) {
		if _, err := exec.LookPath("awk"); err != nil {
			return nil, missing("awk is not installed")
		}
		var stats []logStats
		ns, err := perOp(1, func() error {
			for _, name := range names {
				cmd := exec.CommandContext(ctx, "awk", `{sub(/\r$/,"")} NF{n++;split($1,a,",");s[a[1]]} END{for(k in s)c++; print n+0, c+0}`, name)
				cmd.Env = append(os.Environ(), "LC_ALL=C")
				out, err := cmd.Output()
				if err != nil {
					return err
				}
				s := logStats{File: name}
				if _, err := fmt.Sscan(strings.TrimSpace(string(out)), &s.Visits, &s.Clients); err != nil {
					return err
				}
				stats = append(stats, s)
			}
			return nil
		})
		return figures{"awk": ns}, errors.Join(err, agree("awk", stats))
	}}
	return []experiment{
		asJSON("logstats", filepath.Join(dir, "demo"), "logstats", "--json"),
		asJSON("python logstats", "python3", "logstats.py"),
		awk,
	}, cleanUp, nil
}
