package result

import (
	"fmt"
	"slices"
	"strconv"
)

// Median returns the middle one, and 0 of none.
func Median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Ratios are those of the rounds.
func Ratios(here, there []float64) []float64 {
	all := make([]float64, min(len(here), len(there)))
	for i := range all {
		all[i] = here[i] / there[i]
	}
	return all
}

// Quantity writes a figure with its unit; "" is nanoseconds.
func Quantity(v float64, unit string) string {
	switch {
	case unit != "" && v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64) + " " + unit
	case unit != "":
		return strconv.FormatFloat(v, 'g', 3, 64) + " " + unit
	}
	switch {
	case v < 999.5:
		return fmt.Sprintf("%.3g ns", v)
	case v < 999.5e3:
		return fmt.Sprintf("%.3g µs", v/1e3)
	case v < 999.5e6:
		return fmt.Sprintf("%.3g ms", v/1e6)
	default:
		return fmt.Sprintf("%.3g s", v/1e9)
	}
}
