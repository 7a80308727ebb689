package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/process"
)

const logstatsShort = "access logs counted by processes: visits, clients"

func logstatsCommand() *cobra.Command {
	o := logOptions{workers: process.CPUCount(), partSize: 32 << 20}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "logstats FILE...",
		Short: logstatsShort,
		Long: `Counts the visits and the distinct clients of each access log.

A visit is a line that is not blank. Its client is the first field, up to a
comma if there is one. Fields are separated by spaces and tabs.

Worker processes share the work: large files are cut into parts.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misused(cmd, "logstats needs the names of log files")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, names []string) error {
			if stderrIsTerminal() {
				o.progress = showProgress
			}
			stats, err := countLogs(cmd.Context(), names, o)
			if err != nil {
				return fmt.Errorf("logstats: %w", err)
			}
			if asJSON {
				return printJSON(os.Stdout, stats)
			}
			return printTable(os.Stdout, stats)
		},
	}
	countFlag(cmd, &o.workers, "workers", 1, "number of worker processes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printJSON(w io.Writer, stats []fileStats) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // file names stay as they are
	return enc.Encode(struct {
		Files []fileStats `json:"files"`
	}{stats})
}

func printTable(w io.Writer, stats []fileStats) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "visits\tclients\t  file")
	for _, s := range stats {
		fmt.Fprintf(t, "%d\t%d\t  %s\n", s.Visits, s.Clients, s.File)
	}
	return t.Flush()
}

// logstatsTour counts three small logs, one of them with everything that a log can do
// wrong, in parts so small that processes have to share each file.
func logstatsTour(ctx context.Context, s *stage) error {
	dir, err := os.MkdirTemp("", "demo-logstats-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	odd := []byte("::1 - \"GET /\"\r\n\r\n \t \n10.0.0.1, 10.9.9.9 via proxy\n\xff\xfe not UTF-8\n10.0.0.1 no newline at the end")
	var names []string
	var want []fileStats
	for i, log := range [][]byte{makeLog(1, 40_000), makeLog(2, 20_000), odd} {
		name := filepath.Join(dir, fmt.Sprintf("access-%d.log", i+1))
		if err := os.WriteFile(name, log, 0o600); err != nil {
			return err
		}
		names = append(names, name)
		want = append(want, countPlainly(name, log))
	}
	got, err := countLogs(ctx, names, logOptions{workers: 3, partSize: 64 << 10})
	if err != nil {
		return err
	}
	for i := range want {
		s.check(got[i] == want[i], "%s: %d visits by %d clients", filepath.Base(names[i]), got[i].Visits, got[i].Clients)
	}
	return nil
}

// makeLog writes n lines as a web server does.
func makeLog(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	var b bytes.Buffer
	for range n {
		fmt.Fprintf(&b, "10.%d.%d.%d - - [10/Oct/2025:13:55:%02d +0000] \"GET /item/%d HTTP/1.1\" 200 %d\n",
			seed, rng.IntN(8), rng.IntN(250), rng.IntN(60), rng.IntN(10_000), rng.IntN(90_000))
	}
	return b.Bytes()
}

// countPlainly is the job in a few lines, in this process.
func countPlainly(name string, log []byte) fileStats {
	stats := fileStats{File: name}
	clients := map[string]bool{}
	for line := range bytes.Lines(log) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		fields := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(fields) == 0 {
			continue
		}
		client, _, _ := bytes.Cut(fields[0], []byte(","))
		clients[string(client)] = true
		stats.Visits++
	}
	stats.Clients = len(clients)
	return stats
}
