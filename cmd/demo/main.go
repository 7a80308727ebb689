// Command demo shows what multiproc does, with real processes: each file of this
// directory is the first example of one capability.
//
//	go run ./cmd/demo              the tour: all of them, one line per check
//	go run ./cmd/demo list         what there is, and which package each is about
//	go run ./cmd/demo pipe         one of them, with what it says on the way
//	go run ./cmd/demo logstats F…  a real job: statistics of access logs
//	go run ./cmd/demo load F       another one: lines into a dict that outlives its server
//	go run ./cmd/demo serve        another one: a server in three ways; client talks to it
//
// Each demonstration checks its own result. The exit code is 0 if all held, 1 if
// something did not, and 2 if the command line was not understood.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/process"
)

// A demonstration is a subcommand and a stop of the tour.
type demonstration struct {
	name     string
	packages string // it shows these, the most important first
	short    string // what it shows, in a line of a list
	long     string // the same in sentences, for its help; "" = short
	run      func(ctx context.Context, s *stage) error
	flags    func(cmd *cobra.Command) // adds its own; nil: it has none
	command  func() *cobra.Command    // of a job, which does more than check itself; nil: run is all
}

// demonstrations are all there are, in the order of the tour. Each has a file of its name.
var demonstrations = []demonstration{
	{name: "start", packages: "process", short: "one process per CPU: start, join, pid, name", run: start, flags: startFlags},
	{name: "daemon", packages: "process", short: "who ends with its parent, and who does not", long: "Who ends with a parent: daemons, children, detached ones.", run: daemon},
	{name: "methods", packages: "process", short: "spawn, fork, forkserver: what is inherited, times", long: "The same child under spawn, fork and forkserver: what it inherits, and how fast\nit starts.", run: methods, flags: methodsFlags},
	{name: "buffers", packages: "process", short: "why to flush before a fork", run: buffers},
	{name: "own", packages: "process", short: "a process type of one's own, with fields and Run", run: own},
	{name: "isolation", packages: "process", short: "a slice passed to a child is a copy", run: isolation},
	{name: "race", packages: "value array", short: "adding to shared numbers, without and with a lock", long: "Processes add to the same numbers: without a lock, with one, and in single\nsteps that need none.", run: race, flags: raceFlags},
	{name: "value", packages: "value array", short: "typed values and arrays in shared memory", run: values},
	{name: "hundred", packages: "value process", short: "a hundred processes add 1", run: hundred, flags: hundredFlags},
	{name: "countdown", packages: "process value", short: "a shared flag stops a child; Terminate; Kill", run: countdown},
	{name: "tickets", packages: "psync", short: "ten processes sell from one file, under a lock", long: "Ten processes sell tickets from one file, under a lock that they were given, and\nunder one that is a file.", run: sellTickets, flags: ticketsFlags},
	{name: "deadlock", packages: "psync", short: "locks taken twice, or in opposite order; deadlines", long: "Locks taken twice, and in opposite order: a deadline ends it.", run: deadlock, flags: deadlockFlags},
	{name: "dialogue", packages: "psync", short: "two processes recite a poem in turn, with a Cond", run: dialogue},
	{name: "spiders", packages: "psync", short: "ten processes, three at a time, with a Semaphore", long: "Ten processes fetch pages from a server, three at a time, with a Semaphore.", run: spiders, flags: spidersFlags},
	{name: "barrier", packages: "psync", short: "processes meet, three rounds; then one is killed", run: barriers, flags: barrierFlags},
	{name: "queue", packages: "queue", short: "producers, takers, a capacity; a taker is killed", long: "Messages of two producers; to a child and back; a capacity; a taker that is\nkilled.", run: queues},
	{name: "pipe", packages: "pipe", short: "objects through a pipe, a pipe end among them", run: pipes},
	{name: "crawl", packages: "pool", short: "the same pages by goroutines and by processes", long: "The same pages one by one, by goroutines, by pools of goroutines and of\nprocesses.", run: crawling, flags: crawlFlags},
	{name: "pool", packages: "pool", short: "Map, Apply, IMap, callbacks, Close, Terminate", long: "Map, Apply, IMap and their like; callbacks; Close, Terminate.", run: pools},
	{name: "futures", packages: "pool", short: "results to come: wait for one, for all; cancel", long: "Results that are not there yet: wait for the first, for all, cancel.", run: futures},
	{name: "fib", packages: "pool", short: "work and waiting, on goroutines and on processes", run: fibs, flags: fibFlags},
	{name: "crash", packages: "pool psync", short: "a kill, a panic, too much memory, too much time", long: "A worker killed, a panic, too much memory, too much time: who notices, and\nwhat becomes of the other tasks.", run: crashes},
	{name: "manager", packages: "manager", short: "dicts, lists, queues, locks in a server process", long: "Dicts, lists, sets, queues, locks and names that live in a server process.", run: managers},
	{name: "sharedtypes", packages: "manager", short: "a type of one's own in the manager's process", long: "A type of one's own in the manager's process, called from children.", run: sharedTypes},
	{name: "load", packages: "manager", short: loadShort, run: loadTour, command: loadCommand},
	{name: "coroutines", packages: "", short: "what needs no process: turns, waits that overlap", long: "Functions that switch back and forth, and waits that overlap, need no process:\nthis is how Go does it.", run: coroutines},
	{name: "logstats", packages: "process array", short: logstatsShort, run: logstatsTour, command: logstatsCommand},
	{name: "serve", packages: "process", short: serveShort, run: serveTour, command: serveCommand},
	{name: "client", packages: "", short: clientShort, run: clientTour, command: clientCommand},
	{name: "ps", packages: "shm psync", short: psShort, run: psTour, command: psCommand},
	{name: "gc", packages: "shm", short: gcShort, run: gcTour, command: gcCommand},
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
		fmt.Fprintf(os.Stderr, "demo: %v\nTry '%s --help'.\n", err, usage.command)
		return 2
	default:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return 1
	}
}

var errDidNotHold = errors.New("a check did not hold")

// A usageError is a command line that was not understood.
type usageError struct {
	command string // whose help to read
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }

// misused says how cmd was used wrongly.
func misused(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "demo",
		Short: "A tour of multiproc with real processes; without a subcommand, all of it",
		Long: `A tour of multiproc with real processes: without a subcommand all of it, one
line per check. A demonstration alone says more on the way; 'demo list' names
them with the packages that they show, and each is one short file of cmd/demo.

Results go to standard output, progress bars to standard error if that is a
terminal. --json prints results for programs, where there is something to read.

Exit codes:
  0  all that was checked held; the job is done
  1  something did not hold, or the job could not be done; standard error or a
     line FAILED says why
  2  the command line was not understood
A job that is ended by Ctrl-C or SIGTERM dies of that signal, and its children
with it: 130 or 143 in a shell. 'demo serve' ends in good order instead, with 0.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(cmd, "there is no %q; 'demo list' shows what there is", args[0])
			}
			return nil
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return tour(cmd.Context()) },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misused(cmd, "%w", err) })
	root.CompletionOptions.HiddenDefaultCmd = true // it is there, and says nothing about multiproc
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(listCommand())
	for _, d := range demonstrations {
		root.AddCommand(d.subcommand())
	}
	return root
}

// subcommand makes the command that runs d alone.
func (d demonstration) subcommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   d.name,
		Short: d.short,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := &stage{out: os.Stdout, name: d.name, talks: true}
			s.perform(cmd.Context(), d)
			return s.verdict()
		},
	}
	if d.command != nil {
		cmd = d.command()
	}
	if d.flags != nil {
		d.flags(cmd)
	}
	what := cmp.Or(cmd.Long, d.long, strings.ToUpper(d.short[:1])+d.short[1:]+".")
	cmd.Long = what + "\n\n" + d.shows()
	return cmd
}

// shows says what to read: the documentation of the packages, and the file.
func (d demonstration) shows() string {
	source := "The source is cmd/demo/" + d.name + ".go."
	names := strings.Fields(d.packages)
	if len(names) == 0 {
		return source
	}
	return fmt.Sprintf("Shows package %s: go doc ./%s\n%s",
		strings.Join(names, " and "), strings.Join(names, ", go doc ./"), source)
}

func listCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "the demonstrations, one a line: name, packages, what is shown",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				type entry struct {
					Name     string   `json:"name"`
					Packages []string `json:"packages"`
					Shows    string   `json:"shows"`
				}
				all := []entry{}
				for _, d := range demonstrations {
					all = append(all, entry{d.name, strings.Fields(d.packages), d.short})
				}
				return json.NewEncoder(os.Stdout).Encode(all)
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			for _, d := range demonstrations {
				fmt.Fprintf(w, "%s\t%s\t%s\n", d.name, cmp.Or(strings.ReplaceAll(d.packages, " ", ", "), "-"), d.short)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	return cmd
}

// helpCommand is cobra's, but for an exit code of 2 when there is no such command.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "the help of one of them",
		RunE: func(cmd *cobra.Command, names []string) error {
			about, rest, err := root.Find(names)
			if err != nil || len(rest) > 0 {
				return misused(root, "there is no %q; 'demo list' shows what there is", strings.Join(names, " "))
			}
			about.InitDefaultHelpFlag() // as if it had been asked with -h
			return about.Help()
		},
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misused(cmd, "%s takes no arguments, and was given %q", cmd.Name(), args[0])
	}
	return nil
}

// tour runs every demonstration.
func tour(ctx context.Context) error {
	s := &stage{out: os.Stdout}
	for _, d := range demonstrations {
		s.name = d.name
		s.perform(ctx, d)
	}
	s.printf("%d of %d passed\n", s.passed, s.checks)
	return s.verdict()
}
