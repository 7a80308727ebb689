package result

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Text is how a Row is written.
type Text struct {
	What, Here, Beside, There string // Here and There are quantities
	Ratio, Spread             string // Spread is from the least to the greatest ratio of the rounds
	Asked, Verdict            string
}

// Text writes the row.
func (r Row) Text() Text {
	s := Text{What: r.What, Here: Quantity(r.HereMedian, r.Unit), Beside: r.Beside, There: Quantity(r.ThereMedian, r.Unit), Verdict: r.Verdict}
	faster := r.Faster > 0 || r.AtMost == 0 && r.Ratio < 0.5
	than := func(times float64) string {
		switch {
		case r.Unit != "" && r.Unit != "s":
			return "less"
		case times < 1:
			return "as fast"
		}
		return "faster"
	}
	switch {
	case r.AtMost > 0:
		s.Asked = fmt.Sprintf("≤ %.3g ×", r.AtMost)
	case r.Faster > 0:
		s.Asked = fmt.Sprintf("≥ %g × %s", r.Faster, than(r.Faster))
	}
	switch {
	case r.Verdict == NotMeasured:
		if r.HereMedian == 0 {
			s.Here = "–"
		}
		if r.ThereMedian == 0 {
			s.There = "–"
		}
	case faster:
		s.Ratio = fmt.Sprintf("%s × %s", Times(1/r.Ratio), than(1/r.Ratio))
		s.Spread = fmt.Sprintf("%s–%s", Times(1/r.Most), Times(1/r.Least))
	default:
		ratio := Times(r.Ratio)
		if r.Verdict == Missed && ratio == Times(r.AtMost) {
			ratio = fmt.Sprintf("%.4f", r.Ratio) // or it would look as if it held
		}
		s.Ratio = ratio + " ×"
		s.Spread = fmt.Sprintf("%s–%s", Times(r.Least), Times(r.Most))
	}
	return s
}

// Times writes a ratio.
func Times(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// Measured reports whether there is anything to draw.
func (s Series) Measured() bool {
	return slices.ContainsFunc(s.Lines, func(l Line) bool { return len(l.Points) > 0 })
}

// Xs are the values of X for which there is something.
func (s Series) Xs() []float64 {
	var xs []float64
	for _, l := range s.Lines {
		for _, p := range l.Points {
			xs = append(xs, p.X)
		}
	}
	slices.Sort(xs)
	return slices.Compact(xs)
}

// At is what there is for a value of X, or "".
func (l Line) At(x float64) string {
	for _, p := range l.Points {
		if p.X == x {
			return Quantity(p.Y, "")
		}
	}
	return ""
}

// Label is how a value of X is written.
func (s Series) Label(x float64) string {
	switch {
	case strings.HasPrefix(s.X, "bytes") && x >= 1<<20:
		return fmt.Sprintf("%g MiB", x/(1<<20))
	case strings.HasPrefix(s.X, "bytes") && x >= 1<<10:
		return fmt.Sprintf("%g KiB", x/(1<<10))
	case strings.HasPrefix(s.X, "bytes"):
		return fmt.Sprintf("%g B", x)
	case x >= 1e6:
		return fmt.Sprintf("%g M", x/1e6)
	case x >= 10_000:
		return fmt.Sprintf("%g k", x/1e3)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}
