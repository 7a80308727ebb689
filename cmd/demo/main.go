// Command demo shows what multiproc does, with real processes: each file of this
// directory is the first example of one capability.
//
//	go run ./cmd/demo              the tour: all of them, one line per check
//	go run ./cmd/demo list         what there is
//	go run ./cmd/demo pipe         one of them, with what it says on the way
//	go run ./cmd/demo logstats F…  a real job: statistics of access logs
//	go run ./cmd/demo serve        another one: a server in three ways; client talks to it
//
// Each demonstration checks its own result. The exit code is 0 if all held, 1 if
// something did not, and 2 if the command line was not understood.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/process"
)

// A demonstration is a subcommand and a stop of the tour.
type demonstration struct {
	name  string
	short string
	run   func(ctx context.Context, s *stage) error
}

// demonstrations are all there are, in the order of the tour.
var demonstrations = []demonstration{
	{"start", "one process per CPU: start, join, pid, name", start},
	{"daemon", "who ends with a parent: daemons, children, detached ones", daemon},
	{"methods", "the same child under spawn and fork: what it inherits", methods},
	{"buffers", "why to flush before a fork", buffers},
	{"own", "a process type of one's own, with fields and a Run method", own},
	{"isolation", "a slice passed to a child is a copy", isolation},
	{"race", "two processes add to the same numbers, without and with a lock", race},
	{"value", "typed values and arrays in shared memory", values},
	{"hundred", "a hundred processes add 1", hundred},
	{"countdown", "a shared flag stops a child; Terminate; Kill", countdown},
	{"tickets", "ten processes sell tickets from one file, under a lock", sellTickets},
	{"deadlock", "locks taken twice and in opposite order, with a deadline", deadlock},
	{"dialogue", "two processes recite a poem in turn, with a Cond", dialogue},
	{"spiders", "ten processes fetch pages from a server, three at a time, with a Semaphore", spiders},
	{"barrier", "processes meet, three rounds; then one is killed", barriers},
	{"queue", "messages of two producers; to a child and back; a capacity; a taker that is killed", queues},
	{"pipe", "objects through a pipe, a pipe end among them", pipes},
	{"crawl", "the same pages one by one, by goroutines, by pools of goroutines and of processes", crawling},
	{"pool", "Map, Apply, IMap and their like; callbacks; Close, Terminate", pools},
	{"futures", "results that are not there yet: wait for the first, for all, cancel", futures},
	{"fib", "work and waiting, on goroutines and on processes", fibs},
	{"crash", "a worker killed, a panic, too much memory, too much time: who notices", crashes},
	{"manager", "a dict and a list that live in a server process", managers},
}

// jobs are the subcommands that take arguments, and what the tour shows of each.
var jobs = []demonstration{
	{"logstats", logstatsShort, logstatsTour},
	{"serve", serveShort, serveTour},
	{"client", clientShort, clientTour},
	{"ps", psShort, psTour},
	{"gc", gcShort, gcTour},
}

// limit is how long one demonstration may take. It is there for the day on which
// something hangs: all of them together take a few seconds.
const limit = time.Minute

// In a child, Main runs the function that the child was started for, and exits.
func main() { process.Main(run) }

func run() int {
	err := command().Execute()
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errDidNotHold): // said already, by the checks
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "demo: %v\nTry 'demo --help'.\n", err)
		return 2
	default:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return 1
	}
}

var errDidNotHold = errors.New("a check did not hold")

// A usageError is a command line that was not understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "demo",
		Short: "A tour of multiproc with real processes; without a subcommand, all of it",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return &usageError{fmt.Errorf("%w; 'demo list' shows what there is", err)}
			}
			return nil
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return tour(cmd.Context()) },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "the demonstrations, one a line",
		Args:  noArgs,
		Run: func(*cobra.Command, []string) {
			for _, d := range slices.Concat(demonstrations, jobs) {
				fmt.Printf("%-10s  %s\n", d.name, d.short)
			}
		},
	})
	for _, d := range demonstrations {
		root.AddCommand(&cobra.Command{
			Use:   d.name,
			Short: d.short,
			Args:  noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				s := &stage{out: os.Stdout, name: d.name, talks: true}
				s.perform(cmd.Context(), d)
				return s.verdict()
			},
		})
	}
	root.AddCommand(logstatsCommand(), serveCommand(), clientCommand(), psCommand(), gcCommand())
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return &usageError{err}
	}
	return nil
}

// tour runs every demonstration.
func tour(ctx context.Context) error {
	s := &stage{out: os.Stdout}
	for _, d := range slices.Concat(demonstrations, jobs) {
		s.name = d.name
		s.perform(ctx, d)
	}
	fmt.Printf("%d of %d passed\n", s.passed, s.checks)
	return s.verdict()
}
