package result_test

import (
	"testing"

	"github.com/go-multiproc/multiproc/bench/result"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name    string
		samples []float64
		want    float64
	}{
		{"none", nil, 0},
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 2, 100}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := result.Median(test.samples); got != test.want {
				t.Errorf("median of %v is %v, want %v", test.samples, got, test.want)
			}
		})
	}
	samples := []float64{3, 1, 2}
	result.Median(samples)
	if samples[0] != 3 {
		t.Errorf("median has sorted its argument: %v", samples)
	}
}

func TestQuantity(t *testing.T) {
	for _, test := range []struct {
		v          float64
		unit, want string
	}{
		{0.3512, "", "0.351 ns"}, {12.34, "", "12.3 ns"}, {999.4, "", "999 ns"}, {999.6, "", "1 µs"}, {1e3, "", "1 µs"}, {45_670, "", "45.7 µs"},
		{999.9e3, "", "1 ms"}, {2.5e9, "", "2.5 s"}, {8384, "KiB", "8384 KiB"}, {12.345, "KiB", "12.3 KiB"},
	} {
		if got := result.Quantity(test.v, test.unit); got != test.want {
			t.Errorf("Quantity(%v, %q) = %q, want %q", test.v, test.unit, got, test.want)
		}
	}
}
