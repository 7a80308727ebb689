package codec

// The library without the plans, in the same configuration.

func LibraryMarshal(v any) ([]byte, error) { return enc().Marshal(v) }

func LibraryUnmarshal(b []byte, p any) error {
	if err := prepare(p); err != nil {
		return err
	}
	if _, err := Skip(b); err != nil {
		return err
	}
	return dec().Unmarshal(expand(b), p)
}

// Expanded is b with ordinary arrays in the place of typed ones.
func Expanded(b []byte) []byte { return expand(b) }

// Planned reports whether p reads b without the library.
func (p *Plan) Planned(b []byte, v any) bool {
	rest, ok := read(b, v)
	return p.pure && ok && len(rest) == 0
}
