package cluster

// standing is what a node says of its answer to a read: the first byte of all such
// answers.
type standing struct {
	counts bool // the node is not refilling
	// lost: the storage lacks samples of the range that it had acknowledged. Of a node
	// that counts these are lost for good (C5): it has merged what others have.
	lost bool
}

// standingOf reads the byte. What says that samples are lost is not 1, so that
// nodes from before that mark such answers too, as ones that do not count.
func standingOf(b byte) standing { return standing{counts: b == 1 || b == 2, lost: b == 2} }

func (s standing) byte() byte {
	switch {
	case !s.counts:
		return 0
	case s.lost:
		return 2
	}
	return 1
}

// standing returns that of this node over a range of time, when what it reads is
// selected.
func (c *Cluster) standing(span timeRange) standing {
	lost, mint, maxt := c.local.Lost()
	return standing{counts: !c.refill.running(), lost: lost > 0 && mint <= span.maxt && maxt >= span.mint}
}
