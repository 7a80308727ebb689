// Command bench measures this library beside other ways to do the same: Python's
// multiprocessing, os/exec, and bare system calls or instructions. All sides of a comparison
// are measured in the same run, alternating, so that their ratio means something on a
// machine that is not quiet. Each figure is the median of the rounds, each ratio the median
// of the rounds' ratios.
//
//	go run .                    everything; a few minutes
//	go run . -only conn,start   some of it; -list names the groups
//	go run . -rounds 3          faster, less certain
//
// It needs python3 for the comparisons with Python; without it they are left out. The exit
// code is 1 when a ratio that is asked for does not hold.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

// A group is a set of measurements and the comparisons made of them.
type group struct {
	name        string
	experiments func(ctx context.Context) ([]experiment, func(), error) // the func cleans up
	comparisons []comparison
}

// An experiment yields one or several named figures, in nanoseconds.
type experiment struct {
	name string
	run  func(ctx context.Context) (figures, error)
}

type figures map[string]float64

// A comparison is one line of the result.
type comparison struct {
	what    string
	ours    string // name of a figure
	against string
	theirs  string
	ask     float64 // 0 = nothing; at most so many times as long as theirs
	faster  float64 // 0 = nothing; at least so many times as fast as theirs
}

var groups = []group{lockGroup, semaGroup, eventGroup, condGroup, valueGroup, connGroup, startGroup, queueGroup, poolGroup, managerGroup, logGroup}

func main() {
	if bareChild() {
		return
	}
	process.Main(run)
}

func run() int {
	only := flag.String("only", "", "groups to run, separated by commas")
	rounds := flag.Int("rounds", 7, "how often each measurement is made")
	list := flag.Bool("list", false, "list the groups")
	flag.StringVar(&logDir, "logs", "", "directory in which the generated logs are kept (default: a temporary one)")
	flag.Int64Var(&logSize, "logsize", logSize, "bytes of each of the eight logs")
	flag.Parse()
	if *list {
		for _, g := range groups {
			fmt.Println(g.name)
		}
		return 0
	}
	ctx := context.Background()
	fmt.Printf("%d CPUs, median of %d rounds\n\n", process.CPUCount(), *rounds)
	failed := false
	for _, g := range groups {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), g.name) {
			continue
		}
		holds, err := g.measure(ctx, *rounds)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", g.name, err)
		}
		failed = failed || err != nil || !holds
	}
	if failed {
		return 1
	}
	return 0
}

// measure runs the experiments of a group and prints its comparisons. It reports whether
// every ratio that is asked for holds.
func (g group) measure(ctx context.Context, rounds int) (bool, error) {
	experiments, cleanUp, err := g.experiments(ctx)
	if err != nil {
		return false, err
	}
	defer cleanUp()
	samples := map[string][]float64{}
	for range rounds {
		for _, e := range experiments {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
			found, err := e.run(ctx)
			cancel()
			if err != nil {
				return false, fmt.Errorf("%s: %w", e.name, err)
			}
			for name, ns := range found {
				samples[name] = append(samples[name], ns)
			}
		}
	}

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\there\tbeside\tthere\tratio\tasked\t")
	all := true
	for _, c := range g.comparisons {
		ours, theirs := samples[c.ours], samples[c.theirs]
		if len(ours) == 0 || len(theirs) == 0 {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\tnot measured\t\t\n", c.what, duration(ours), c.against, duration(theirs))
			continue
		}
		ratios := make([]float64, min(len(ours), len(theirs)))
		for i := range ratios {
			ratios[i] = ours[i] / theirs[i]
		}
		ratio := median(ratios)
		shown, asked, holds := fmt.Sprintf("%.2f ×", ratio), "", true
		if c.ask == 0 && ratio < 0.2 {
			shown = fmt.Sprintf("%.1f × faster", 1/ratio)
		}
		switch {
		case c.ask > 0:
			asked, holds = fmt.Sprintf("≤ %g ×", c.ask), ratio <= c.ask
		case c.faster > 0:
			shown = fmt.Sprintf("%.1f × faster", 1/ratio)
			asked, holds = fmt.Sprintf("≥ %g × faster", c.faster), 1/ratio >= c.faster
		}
		verdict := "ok"
		if !holds {
			verdict, all = "MISSED", false
		}
		if asked == "" {
			verdict = ""
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.what, duration(ours), c.against, duration(theirs), shown, asked, verdict)
	}
	w.Flush()
	fmt.Println()
	return all, nil
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// duration prints the median of samples in nanoseconds.
func duration(samples []float64) string {
	if len(samples) == 0 {
		return "-"
	}
	ns := median(samples)
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%.3g ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	default:
		return fmt.Sprintf("%.3g s", ns/1e9)
	}
}

// perOp runs f, which does n operations, and returns the nanoseconds of one.
func perOp(n int, f func() error) (float64, error) {
	began := time.Now()
	err := f()
	return float64(time.Since(began).Nanoseconds()) / float64(n), err
}
