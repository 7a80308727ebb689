package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	plotfont "gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/go-multiproc/multiproc/bench/result"
)

// The figures have no background and colours of middle lightness, so that they can be read on white and on black.
var (
	grey      = color.NRGBA{0x76, 0x7e, 0x88, 0xff}
	gridColor = color.NRGBA{0x76, 0x7e, 0x88, 0x40}
)

// A style is how a system is drawn, the same in all figures.
type style struct {
	color color.Color
	glyph draw.GlyphDrawer
	dash  []vg.Length
}

// styleOf goes by the name of a system or of a line; ours are blue, the others have a colour and a shape each.
func styleOf(what string, ours int) style {
	has := func(part string) bool { return strings.Contains(what, part) }
	switch {
	case has("Python Connection"), has("Python Pool.map"):
		return style{color.NRGBA{0xb4, 0x74, 0x20, 0xff}, draw.BoxGlyph{}, dashes(4, 3)}
	case has("Python"):
		return style{color.NRGBA{0xe0, 0x7b, 0x00, 0xff}, draw.BoxGlyph{}, nil}
	case has("one HSET"):
		return style{color.NRGBA{0xa8, 0x32, 0x5e, 0xff}, draw.TriangleGlyph{}, dashes(4, 3)}
	case has("Redis"):
		return style{color.NRGBA{0xdc, 0x3f, 0x4e, 0xff}, draw.TriangleGlyph{}, nil}
	case has("copies"), has("loop"), has("bare"):
		return style{grey, draw.RingGlyph{}, dashes(2, 2)}
	}
	blues := []style{
		{color.NRGBA{0x2f, 0x7d, 0xf6, 0xff}, draw.CircleGlyph{}, nil},
		{color.NRGBA{0x14, 0x9e, 0xb8, 0xff}, draw.PyramidGlyph{}, nil},
		{color.NRGBA{0x8b, 0x62, 0xe6, 0xff}, draw.SquareGlyph{}, nil},
		{color.NRGBA{0x2d, 0xa4, 0x6a, 0xff}, draw.PlusGlyph{}, nil},
	}
	return blues[ours%len(blues)]
}

func dashes(l ...vg.Length) []vg.Length { return l }

// isOurs reports whether a line is of this library.
func isOurs(what string) bool {
	return !strings.Contains(what, "Python") && !strings.Contains(what, "Redis") && !strings.Contains(what, "copies") && !strings.Contains(what, "loop") && !strings.Contains(what, "bare")
}

func newPlot(title string) *plot.Plot {
	p := plot.New()
	sans := func(size vg.Length, weight font.Weight) plotfont.Font {
		return plotfont.Font{Typeface: "Liberation", Variant: "Sans", Size: size, Weight: weight}
	}
	p.BackgroundColor = color.Transparent
	p.Title.Text = title
	p.Title.Padding = 6
	p.Title.TextStyle.Font = sans(13, font.WeightBold)
	p.Title.TextStyle.Color = grey
	p.Legend.TextStyle.Font = sans(11, font.WeightNormal)
	p.Legend.TextStyle.Color = grey
	p.Legend.ThumbnailWidth = 24
	p.Legend.Padding = 2
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color = grey
		a.Label.TextStyle.Font = sans(11, font.WeightNormal)
		a.Label.TextStyle.Color = grey
		a.Tick.Label.Font = sans(11, font.WeightNormal)
		a.Tick.Label.Color = grey
		a.Tick.Color = grey
		a.LineStyle.Color = grey
		a.Padding = 4
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColor, gridColor
	p.Add(grid)
	return p
}

// timeTicks are powers of ten with a unit.
type timeTicks struct{}

func (timeTicks) Ticks(from, to float64) (ticks []plot.Tick) {
	for e := math.Floor(math.Log10(from)); math.Pow(10, e) <= to*1.001; e++ {
		if v := math.Pow(10, e); v >= from*0.999 {
			ticks = append(ticks, plot.Tick{Value: v, Label: result.Quantity(v, "")})
		}
	}
	return ticks
}

// decades widens a range to powers of ten.
func decades(from, to float64) (float64, float64) {
	return math.Pow(10, math.Floor(math.Log10(from))), math.Pow(10, math.Ceil(math.Log10(to)))
}

// drawSeries draws how a cost grows.
func drawSeries(to io.Writer, s result.Series) error {
	p := newPlot(s.Title)
	p.X.Label.Text, p.Y.Label.Text = s.X, s.Y
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	var xs []float64
	from, most := math.Inf(1), 0.0
	ours, outside := 0, plot.NewLegend()
	outside.TextStyle, outside.ThumbnailWidth, outside.Padding = p.Legend.TextStyle, p.Legend.ThumbnailWidth, p.Legend.Padding
	outside.Top, outside.Left = true, true
	for _, l := range s.Lines {
		st := styleOf(l.What, ours)
		if isOurs(l.What) {
			ours++
		}
		if len(l.Points) == 0 {
			continue
		}
		xys := make(plotter.XYs, len(l.Points))
		for i, point := range l.Points {
			xys[i] = plotter.XY{X: point.X, Y: point.Y}
			xs = append(xs, point.X)
			from, most = min(from, point.Y), max(most, point.Y)
		}
		line, points, err := plotter.NewLinePoints(xys)
		if err != nil {
			return fmt.Errorf("%s: %w", l.What, err)
		}
		line.LineStyle = draw.LineStyle{Color: st.color, Width: 1.8, Dashes: st.dash}
		points.GlyphStyle = draw.GlyphStyle{Color: st.color, Radius: 3.2, Shape: st.glyph}
		p.Add(line, points)
		outside.Add(l.What, line, points)
	}
	if len(xs) == 0 {
		return fmt.Errorf("%s: nothing was measured", s.Name)
	}
	p.Y.Min, p.Y.Max = decades(from, most)
	p.Y.Tick.Marker = timeTicks{}
	slices.Sort(xs)
	var marks plot.ConstantTicks
	for _, x := range slices.Compact(xs) {
		marks = append(marks, plot.Tick{Value: x, Label: s.Label(x)})
	}
	p.X.Tick.Marker = marks
	return render(to, 700, 340, p, &outside, 240)
}

// An Entry is one line of a figure that puts systems side by side: who takes how long, in nanoseconds, and how many times as long as the
// first one the second one takes, by the median of the rounds' ratios; 0 = not known.
type Entry struct {
	What  string
	Times map[string]float64
	Ratio float64
}

// drawBeside draws entries as points on a scale of time, one line for each, and writes the ratio there.
func drawBeside(to io.Writer, title string, systems []string, entries []Entry) error {
	p := newPlot(title)
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = timeTicks{}
	names := make([]string, len(entries))
	from, most := math.Inf(1), 0.0
	for i, e := range entries {
		y := float64(len(entries) - 1 - i)
		names[len(entries)-1-i] = e.What
		var xs []float64
		for _, s := range systems {
			if v := e.Times[s]; v > 0 {
				xs = append(xs, v)
			}
		}
		if len(xs) == 0 {
			continue
		}
		low, high := slices.Min(xs), slices.Max(xs)
		from, most = min(from, low), max(most, high)
		span, err := plotter.NewLine(plotter.XYs{{X: low, Y: y}, {X: high, Y: y}})
		if err != nil {
			return err
		}
		span.LineStyle = draw.LineStyle{Color: gridColor, Width: 3}
		p.Add(span)
		if e.Ratio > 0 {
			labels, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: high, Y: y}}, Labels: []string{result.Times(e.Ratio) + " ×"}})
			if err != nil {
				return err
			}
			labels.Offset = vg.Point{X: 9}
			labels.TextStyle[0].Font = p.Legend.TextStyle.Font
			labels.TextStyle[0].Color = styleOf(systems[1], 0).color
			labels.TextStyle[0].YAlign = text.YCenter
			p.Add(labels)
		}
	}
	if math.IsInf(from, 1) {
		return fmt.Errorf("%s: nothing was measured", title)
	}
	legend := plot.NewLegend()
	legend.TextStyle, legend.ThumbnailWidth, legend.Padding = p.Legend.TextStyle, 14, p.Legend.Padding
	legend.Top, legend.Left = true, true
	for _, s := range slices.Backward(systems) { // ours on top
		var xys plotter.XYs
		for i, e := range entries {
			if v := e.Times[s]; v > 0 {
				xys = append(xys, plotter.XY{X: v, Y: float64(len(entries) - 1 - i)})
			}
		}
		if len(xys) == 0 {
			continue
		}
		points, err := plotter.NewScatter(xys)
		if err != nil {
			return err
		}
		st := styleOf(s, 0)
		points.GlyphStyle = draw.GlyphStyle{Color: st.color, Radius: 4, Shape: st.glyph}
		p.Add(points)
	}
	for _, s := range systems {
		if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Times[s] > 0 }) {
			continue
		}
		st := styleOf(s, 0)
		thumb, err := plotter.NewScatter(plotter.XYs{{}})
		if err != nil {
			return err
		}
		thumb.GlyphStyle = draw.GlyphStyle{Color: st.color, Radius: 4, Shape: st.glyph}
		legend.Add(s, thumb)
	}
	p.NominalY(names...)
	p.Y.Tick.Label.Color, p.Y.Padding = grey, 14 // some readers' font is wider
	p.Y.Min, p.Y.Max = -0.6, float64(len(entries))-0.4
	p.X.Min, p.X.Max = decades(from, most*3) // room for the label of the last
	return render(to, 760, vg.Length(70+24*len(entries)), p, &legend, 120)
}

// render writes a plot with its legend at the right.
func render(to io.Writer, width, height vg.Length, p *plot.Plot, legend *plot.Legend, room vg.Length) error {
	canvas := vgsvg.New(width, height)
	all := draw.New(canvas)
	p.Draw(draw.Crop(all, 0, -room, 4, -4))
	legend.Draw(draw.Crop(all, width-room+10, 0, 0, -30))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The widths are those of Liberation Sans, and of the fonts made to the same measure, which one or the other reader has.
	_, err := to.Write(bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")))
	return err
}
