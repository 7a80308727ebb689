package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-multiproc/multiproc/bench/result"
)

// A group is a set of measurements and the comparisons made of them.
type group struct {
	name        string
	rounds      int                                                     // at most so many; 0 = as many as asked for
	experiments func(ctx context.Context) ([]experiment, func(), error) // the func cleans up
	comparisons []comparison
	latencies   []latency
	series      []series
}

// An experiment yields one or several named figures. When it returns an error, the other experiments of its group go on,
// and it is not run again; see missing.
type experiment struct {
	name string
	run  func(ctx context.Context) (figures, error)
}

// figures are nanoseconds, unless the comparison that uses them has a unit.
type figures map[string]float64

// missing is the error of an experiment that this machine cannot make: it says what is not there. The rows that need it
// are shown as not measured, for this reason, which is no failure.
type missing string

func (m missing) Error() string { return string(m) }

// A comparison is one line of the result.
type comparison struct {
	what    string // "" = as in the line before
	ours    string // name of a figure
	against string
	theirs  string
	ask     float64 // 0 = nothing; at most so many times as long as theirs
	faster  float64 // 0 = nothing; at least so many times as fast as theirs
	unit    string  // "" = ns; else what the figures are, as "MB", "/s" or "items"
}

// A latency is one line of the table of percentiles: of figures that timeEach has made.
type latency struct {
	what string // "" = as in the line before
	who  string // "" = this library
	name string // of the figures: name p50, name p99, name worst
}

// A series is a picture of how a cost grows. The figures of a line are named by its name and the value of x, as in
// "queue 4096": see at.
type series struct {
	name  string // of the file
	title string
	x, y  string // what the axes show
	at    []int
	lines []line
}

type line struct{ what, name string }

// at is the name of the figure of a series' line at x.
func at(name string, x int) string { return fmt.Sprintf("%s %d", name, x) }

// An undoing is what a group has to undo when it has been measured, or cannot be: the newest first.
type undoing []func()

func (u *undoing) run() {
	for _, f := range slices.Backward(*u) {
		f()
	}
}

// runIf is for a group that fails while it is made, with a defer: err is what it returns.
func (u *undoing) runIf(err *error) {
	if *err != nil {
		u.run()
	}
}

// measure runs the experiments of a group, round by round. Every other round runs them backwards, so that
// none always runs after the same one.
func (g group) measure(ctx context.Context, rounds int) result.Group {
	if g.rounds > 0 {
		rounds = min(rounds, g.rounds)
	}
	began := time.Now()
	all := result.Group{Name: g.name, Rounds: rounds, Samples: map[string][]float64{}, NotMeasured: map[string]string{}}
	fail := func(name string, err error) {
		all.NotMeasured[name] = err.Error()
		if _, ok := errors.AsType[missing](err); !ok {
			all.Failed = true
		}
	}
	experiments, cleanUp, err := g.experiments(ctx)
	if err != nil {
		fail(g.name, err)
	} else {
		defer cleanUp()
	}
	for round := range rounds {
		for _, e := range experiments {
			status("%s, round %d of %d: %s", g.name, round+1, rounds, e.name)
			if all.NotMeasured[e.name] != "" {
				continue
			}
			ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
			found, err := e.run(ctx)
			cancel()
			if err != nil {
				fail(e.name, err)
				continue
			}
			for name, v := range found {
				all.Samples[name] = append(all.Samples[name], v)
			}
		}
		slices.Reverse(experiments)
	}
	status("")
	all.Seconds = time.Since(began).Seconds()
	compare(&all, g)
	return all
}

// compare makes the rows of what a group has found from its samples.
func compare(r *result.Group, g group) {
	reasons := func() string {
		var all []string
		for name, why := range r.NotMeasured {
			all = append(all, name+": "+why)
		}
		slices.Sort(all)
		return strings.Join(all, "; ")
	}
	what := ""
	for _, c := range g.comparisons {
		what = cmp.Or(c.what, what)
		row := result.Row{What: what, Here: c.ours, Beside: c.against, There: c.theirs, Unit: c.unit, AtMost: c.ask, Faster: c.faster}
		ours, theirs := r.Samples[c.ours], r.Samples[c.theirs]
		row.HereMedian, row.ThereMedian = median(ours), median(theirs)
		all := result.Ratios(ours, theirs)
		switch {
		case len(all) == 0:
			row.Verdict, row.Why = result.NotMeasured, reasons()
			if row.Why == "" {
				row.Why = "there is no such figure"
			}
		default:
			row.Ratio, row.Least, row.Most = median(all), slices.Min(all), slices.Max(all)
			row.Verdict = verdict(row)
		}
		r.Rows = append(r.Rows, row)
	}
	what = ""
	for _, l := range g.latencies {
		what = cmp.Or(l.what, what)
		row := result.Latency{What: what, Who: cmp.Or(l.who, "this library")}
		row.P50, row.P99, row.Worst = median(r.Samples[l.name+" p50"]), median(r.Samples[l.name+" p99"]), median(r.Samples[l.name+" worst"])
		if len(r.Samples[l.name+" p50"]) == 0 {
			row.Why = cmp.Or(reasons(), "there is no such figure")
		}
		r.Latencies = append(r.Latencies, row)
	}
	for _, s := range g.series {
		out := result.Series{Name: s.name, Title: s.title, X: s.x, Y: s.y}
		for _, l := range s.lines {
			line := result.Line{What: l.what}
			for _, x := range s.at {
				if found := r.Samples[at(l.name, x)]; len(found) > 0 {
					line.Points = append(line.Points, result.Point{X: float64(x), Y: median(found)})
				}
			}
			if len(line.Points) == 0 {
				line.Why = cmp.Or(reasons(), "there is no such figure")
			}
			out.Lines = append(out.Lines, line)
		}
		r.Series = append(r.Series, out)
	}
}

func verdict(r result.Row) string {
	switch {
	case r.AtMost > 0 && r.Ratio > r.AtMost, r.Faster > 0 && 1/r.Ratio < r.Faster:
		return result.Missed
	case r.AtMost > 0 || r.Faster > 0:
		return result.OK
	}
	return ""
}

func median(samples []float64) float64 { return result.Median(samples) }

// perOp runs f, which does n operations, and returns the nanoseconds of one.
func perOp(n int, f func() error) (float64, error) {
	began := time.Now()
	err := f()
	return float64(time.Since(began).Nanoseconds()) / float64(n), err
}

// timeEach runs f n times after a tenth as many to warm up, and returns the figures of a latency: the percentiles of single calls, name p50,
// name p99 and name worst, and their mean, name. The clock is read once for a call, which adds about 40 ns to each.
func timeEach(name string, n int, f func() error) (figures, error) {
	for range n/10 + 1 {
		if err := f(); err != nil {
			return nil, err
		}
	}
	took := make([]float64, n)
	began := time.Now()
	last := time.Duration(0)
	for i := range took {
		if err := f(); err != nil {
			return nil, err
		}
		now := time.Since(began)
		took[i], last = float64(now-last), now
	}
	slices.Sort(took)
	return figures{
		name:            float64(last) / float64(n),
		name + " p50":   took[n/2],
		name + " p99":   took[n*99/100],
		name + " worst": took[n-1],
	}, nil
}
