package cluster

import (
	"time"

	"github.com/count-db/count/cluster/antientropy"
)

// timing are the periods of what a node does by itself, long ones. Only tests
// have others, so that hours of a cluster's life fit into minutes.
type timing struct {
	settleLook   time.Duration // between two looks whether a round of settling is due
	settlePeriod time.Duration // the grid of time at whose points a round becomes due
	// settleMargin is how far a floor lies behind the clock: writes are stored
	// everywhere, or owed, long before.
	settleMargin time.Duration
	// frozenPatience is how long a member waits for the outcome of a round.
	frozenPatience           time.Duration
	settleRetry, settleRests time.Duration // least and greatest pause after a round that came to nothing

	shedLook time.Duration // between two looks whether there is something to shed
	// shedAgain is the time between two rounds under one ring: stand-ins come to
	// hold more, and what was on its way to a former owner comes late.
	shedAgain time.Duration
	shedRetry time.Duration // the pause after a round that failed

	verifyIdle time.Duration // between two looks when nothing is to be verified
	verify     antientropy.Periods
	// readBack says how often what is kept of a window is compared with what is
	// read back from the disk, by the age of the window.
	readBack antientropy.Periods
}

func defaultTiming() timing {
	return timing{
		settleLook: 30 * time.Second, settlePeriod: time.Duration(windowLength) * time.Millisecond, settleMargin: 5 * time.Minute,
		frozenPatience: time.Minute, settleRetry: 2 * time.Minute, settleRests: time.Hour,
		shedLook: 5 * time.Second, shedAgain: 24 * time.Hour, shedRetry: 30 * time.Second,
		verifyIdle: 10 * time.Second, verify: antientropy.DefaultPeriods(),
		readBack: antientropy.Periods{New: 3 * time.Hour, Old: 7 * 24 * time.Hour, Rest: 30 * 24 * time.Hour},
	}
}
