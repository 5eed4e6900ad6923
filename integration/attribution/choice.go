package main

// fits reports whether a form can be used in the generator's present place.
func (g *generator) fits(f *form) bool {
	w := g.made.way
	switch {
	case f.places&g.place() == 0:
		return false
	case w == script:
		return !f.special()
	case w.joined():
		return !f.calls()
	}
	return true
}

// choose returns a random form, by weight.
func (g *generator) choose() *form {
	total := 0
	for i := range forms {
		if g.fits(&forms[i]) {
			total += forms[i].weight
		}
	}
	at := g.random.Intn(total)
	for i := range forms {
		if !g.fits(&forms[i]) {
			continue
		}
		if at -= forms[i].weight; at < 0 {
			return &forms[i]
		}
	}
	panic("the weights have changed")
}

// plain returns a random form of one statement that writes.
func (g *generator) plain() *form {
	for {
		if f := g.choose(); f.plain {
			return f
		}
	}
}

// place returns the place of the next statement.
func (g *generator) place() place {
	switch g.at {
	case alone:
		return alone
	case inBlock:
		if g.wrote {
			return behind
		}
		return first
	}
	if g.wrote {
		return following
	}
	return opening
}

// failing are the forms that only fail.
var failing = func() (list []*form) {
	for i := range forms {
		if forms[i].broken {
			list = append(list, &forms[i])
		}
	}
	return list
}()

func (g *generator) chance(percent int) bool { return g.random.Intn(100) < percent }

func pick[T any](g *generator, from ...T) T { return from[g.random.Intn(len(from))] }
