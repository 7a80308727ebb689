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
)

// shown is how a row is written, here and in the documentation.
type shown struct{ what, here, beside, there, ratio, spread, asked, verdict string }

func (r Row) shown() shown {
	s := shown{what: r.What, here: quantity(r.HereMedian, r.Unit), beside: r.Beside, there: quantity(r.ThereMedian, r.Unit), verdict: r.Verdict}
	faster := r.Faster > 0 || r.AtMost == 0 && r.Ratio < 0.5
	than := "faster"
	if r.Unit != "" {
		than = "less"
	}
	switch {
	case r.AtMost > 0:
		s.asked = fmt.Sprintf("≤ %.3g ×", r.AtMost)
	case r.Faster > 0:
		s.asked = fmt.Sprintf("≥ %g × %s", r.Faster, than)
	}
	switch {
	case r.Verdict == NotMeasured:
		if r.HereMedian == 0 {
			s.here = "–"
		}
		if r.ThereMedian == 0 {
			s.there = "–"
		}
	case faster:
		s.ratio = fmt.Sprintf("%s × %s", times(1/r.Ratio), than)
		s.spread = fmt.Sprintf("%s–%s", times(1/r.Most), times(1/r.Least))
	default:
		s.ratio = fmt.Sprintf("%s ×", times(r.Ratio))
		s.spread = fmt.Sprintf("%s–%s", times(r.Least), times(r.Most))
	}
	return s
}

func times(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// print writes the result of a group for people.
func (r GroupResult) print(to io.Writer) {
	fmt.Fprintf(to, "== %s: %d rounds, %.0f s\n\n", r.Name, r.Rounds, r.Seconds)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	if len(r.Rows) > 0 {
		fmt.Fprintln(w, "what\there\tbeside\tthere\tratio\tin the rounds\tasked\t")
	}
	what := ""
	for _, row := range r.Rows {
		s := row.shown()
		if s.what == what {
			s.what = ""
		}
		what = row.What
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.what, s.here, s.beside, s.there, s.ratio, s.spread, s.asked, s.verdict)
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
			fmt.Fprintf(w, "%s\t%s\t%s\t\t\t\n", shown, l.Who, NotMeasured)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", shown, l.Who, quantity(l.P50, ""), quantity(l.P99, ""), quantity(l.Worst, ""))
	}
	w.Flush()
	for _, s := range r.Series {
		fmt.Fprintf(to, "%s: %s by %s\n", s.Title, s.Y, s.X)
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
		xs := s.xs()
		for _, x := range xs {
			fmt.Fprintf(w, "\t%s", s.label(x))
		}
		fmt.Fprintln(w, "\t")
		for _, l := range s.Lines {
			fmt.Fprintf(w, "%s\t", l.What)
			for _, x := range xs {
				fmt.Fprintf(w, "%s\t", cmp.Or(l.at(x), "–"))
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
func summary(to io.Writer, r *Result) {
	count := map[string]int{}
	for _, g := range r.Groups {
		for _, row := range g.Rows {
			if row.AtMost == 0 && row.Faster == 0 {
				continue
			}
			count[row.Verdict]++
			if row.Verdict != OK {
				s := row.shown()
				fmt.Fprintf(to, "%s: %s: %s beside [%s], asked %s: %s\n", row.Verdict, g.Name, s.what, s.beside, s.asked, cmp.Or(s.ratio, row.Why))
			}
		}
		if g.Failed {
			fmt.Fprintf(to, "FAILED: %s: %v\n", g.Name, g.NotMeasured)
		}
	}
	fmt.Fprintf(to, "asked ratios: %d hold, %d do not, %d were not measured; %.0f s\n", count[OK], count[Missed], count[NotMeasured], r.Seconds)
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
