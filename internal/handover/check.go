package handover

import "reflect"

// Check says why values of type t cannot be written, with the path to what is in the way; nil if nothing in the type is: then a value may
// still be refused, for what is in an any of it. verb says what cannot be done with what is refused: "be kept". handle is asked about the types of handles that are met.
func Check(t reflect.Type, root, verb string, handle func(t reflect.Type) error) error {
	c := checker{verb, handle, map[*plan]bool{}}
	if err := c.check(planOf(t)); err != nil {
		return rooted(root, err)
	}
	return nil
}

type checker struct {
	verb   string
	handle func(t reflect.Type) error
	seen   map[*plan]bool
}

func (c *checker) check(p *plan) error {
	if c.seen[p] {
		return nil
	}
	c.seen[p] = true
	switch p.class {
	case refused, iface:
		return p.why.keepErr(c.verb)
	case descriptor:
		return (&refusal{what: a(p.t), kept: leaveOut}).keepErr(c.verb)
	case handle:
		return c.handle(p.t)
	case structure:
		if p.bad != "" {
			return within(p.bad, p.why.keepErr(c.verb))
		}
		for _, f := range p.fields {
			if err := c.check(f.plan); err != nil {
				return within(f.step, err)
			}
		}
		return nil
	case pointer:
		return c.check(p.elem)
	case mapping:
		if err := c.check(p.key); err != nil {
			return within("[key]", err)
		}
	}
	if p.elem != nil {
		if err := c.check(p.elem); err != nil {
			return within("[…]", err)
		}
	}
	return nil
}
