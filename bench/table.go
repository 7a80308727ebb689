package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/bench/result"
)

// print writes the result of a group for people.
func printGroup(to io.Writer, r result.Group) {
	fmt.Fprintf(to, "== %s: %d rounds, %.0f s\n\n", r.Name, r.Rounds, r.Seconds)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	if len(r.Rows) > 0 {
		fmt.Fprintln(w, "what\there\tbeside\tthere\tratio\tin the rounds\tasked\t")
	}
	what := ""
	for _, row := range r.Rows {
		s := row.Text()
		if s.What == what {
			s.What = ""
		}
		what = row.What
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.What, s.Here, s.Beside, s.There, s.Ratio, s.Spread, s.Asked, s.Verdict)
	}
	if len(r.Latencies) > 0 {
		fmt.Fprintln(w, "single calls\tby\tp50\tp99\tworst\t")
	}
	what = ""
	for _, l := range r.Latencies {
		shown := l.What
		if shown == what {
			shown = ""
		}
		what = l.What
		if l.Why != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\t\t\t\n", shown, l.Who, result.NotMeasured)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", shown, l.Who, result.Quantity(l.P50, ""), result.Quantity(l.P99, ""), result.Quantity(l.Worst, ""))
	}
	w.Flush()
	for _, s := range r.Series {
		fmt.Fprintf(to, "%s: %s by %s\n", s.Title, s.Y, s.X)
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
		xs := s.Xs()
		for _, x := range xs {
			fmt.Fprintf(w, "\t%s", s.Label(x))
		}
		fmt.Fprintln(w, "\t")
		for _, l := range s.Lines {
			fmt.Fprintf(w, "%s\t", l.What)
			for _, x := range xs {
				fmt.Fprintf(w, "%s\t", cmp.Or(l.At(x), "–"))
			}
			fmt.Fprintln(w)
		}
		w.Flush()
	}
	for _, name := range slices.Sorted(maps.Keys(r.NotMeasured)) {
		fmt.Fprintf(to, "not measured: %s: %s\n", name, r.NotMeasured[name])
	}
	fmt.Fprintln(to)
}

// summary says how many of the ratios that are asked for hold, and which do not.
func summary(to io.Writer, r *result.Run) {
	count := map[string]int{}
	for _, g := range r.Groups {
		for _, row := range g.Rows {
			if row.AtMost == 0 && row.Faster == 0 {
				continue
			}
			count[row.Verdict]++
			if row.Verdict != result.OK {
				s := row.Text()
				fmt.Fprintf(to, "%s: %s: %s beside [%s], asked %s: %s\n", row.Verdict, g.Name, s.What, s.Beside, s.Asked, cmp.Or(s.Ratio, row.Why))
			}
		}
		if g.Failed {
			fmt.Fprintf(to, "FAILED: %s: %v\n", g.Name, g.NotMeasured)
		}
	}
	fmt.Fprintf(to, "asked ratios: %d hold, %d do not, %d were not measured; %.0f s\n", count[result.OK], count[result.Missed], count[result.NotMeasured], r.Seconds)
}

// atTerminal reports whether somebody looks at the standard error.
var atTerminal = sync.OnceValue(func() bool {
	_, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS)
	return err == nil
})

// status replaces the line at the bottom of a terminal.
func status(format string, arguments ...any) {
	if atTerminal() {
		fmt.Fprintf(os.Stderr, "\r\033[K%s", fmt.Sprintf(format, arguments...))
	}
}
