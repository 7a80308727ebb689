// Command bench measures this library beside other ways to do the same: Python's
// multiprocessing, Redis, os/exec, and bare system calls or instructions. All sides of a
// comparison are measured in the same run, alternating, so that their ratio means something on
// a machine that is not quiet. Each figure is the median of the rounds, each ratio the median
// of the rounds' ratios.
//
//	go run .                    everything, to result.json; about ten minutes
//	go run . -only conn,start   some of it; -list names the groups
//	go run . -rounds 3          faster, less certain
//	go run ./figures            writes the tables and figures of result.json into README and docs
//
// make bench builds this program with CGO_ENABLED=0, so that no C library is linked into each child: the toolkit needs none, and a
// start is a quarter shorter. All programs that are started here profit alike. What a start costs is measured with a small program of
// its own, built in both ways: see start.go.
//
// What needs python3 or redis-server is said to be not measured where they are not installed. The exit
// code is 1 when a ratio that is asked for does not hold.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-multiproc/multiproc/bench/result"
	"github.com/go-multiproc/multiproc/process"
)

var groups = []group{lockGroup, semaGroup, eventGroup, condGroup, valueGroup, connGroup, startGroup, footprintGroup, queueGroup, poolGroup, managerGroup, durableGroup, redisGroup, latencyGroup, growthGroup, logGroup}

func main() {
	process.Main(run)
}

func run() int {
	only := flag.String("only", "", "groups to run, separated by commas")
	rounds := flag.Int("rounds", 7, "how often each measurement is made")
	list := flag.Bool("list", false, "list the groups")
	file := flag.String("json", "", "file of the result (default: result.json, and none with -only)")
	flag.StringVar(&logDir, "logs", "", "directory in which the generated logs are kept (default: a temporary one)")
	flag.Int64Var(&logSize, "logsize", logSize, "bytes of each of the eight logs")
	flag.Parse()
	if *list {
		for _, g := range groups {
			fmt.Println(g.name)
		}
		return 0
	}
	if *file == "" && *only == "" {
		*file = "result.json"
	}
	chosen, err := choose(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	r := measureAll(context.Background(), chosen, *rounds)
	if *file != "" {
		if err := r.Save(*file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if !r.Holds() {
		return 1
	}
	return 0
}

// choose returns the groups with these names, or all of them.
func choose(only string) ([]group, error) {
	if only == "" {
		return groups, nil
	}
	var chosen []group
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no group %q; -list names them", name)
		}
		chosen = append(chosen, groups[i])
	}
	return chosen, nil
}

// measureAll runs the groups, and prints what they have found as soon as it is known.
func measureAll(ctx context.Context, chosen []group, rounds int) *result.Run {
	r := &result.Run{Command: strings.Join(append([]string{"go run ."}, os.Args[1:]...), " "), Date: time.Now().UTC().Truncate(time.Second), Rounds: rounds}
	r.Machine = describeMachine(ctx, process.CPUCount())
	m := r.Machine
	fmt.Printf("%s, %d CPUs; %s; %s; %s; %s\nload average %.2f; median of %d rounds\n\n",
		m.CPU, m.CPUs, m.Kernel, m.Go, orNone(m.Python, "Python"), orNone(m.Redis, "Redis"), m.LoadAtStart[0], rounds)
	r.Busy = m.Unquiet()
	warn(r.Busy)
	began, before := time.Now(), cpuTimes()
	var disturbed []string
	for _, g := range chosen {
		before := cpuUse()
		found := g.measure(ctx, rounds)
		found.Others = cpuUse().others(before)
		if found.Others > 0.05 {
			disturbed = append(disturbed, fmt.Sprintf("%s %.0f %%", g.name, 100*found.Others))
		}
		printGroup(os.Stdout, found)
		r.Groups = append(r.Groups, found)
	}
	r.Seconds = time.Since(began).Seconds()
	r.StolenShare = cpuTimes().since(before).stolenShare()
	if len(disturbed) > 0 {
		r.Busy = append(r.Busy, "meanwhile other programs used CPU time: "+strings.Join(disturbed, ", "))
	}
	if r.StolenShare > 0.01 {
		r.Busy = append(r.Busy, fmt.Sprintf("the hypervisor took %.0f %% of the CPU time for others", 100*r.StolenShare))
	}
	summary(os.Stdout, r)
	warn(r.Busy)
	return r
}

func warn(reasons []string) {
	if len(reasons) > 0 {
		fmt.Printf("WARNING: this machine is not quiet, so do not trust these figures: %s\n\n", strings.Join(reasons, "; "))
	}
}

func orNone(version, program string) string {
	if version == "" {
		return "no " + program
	}
	return version
}
