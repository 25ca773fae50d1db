package auth

import "time"

// OutcomeUnknown is for the tests that need a real server.
var OutcomeUnknown = outcomeUnknown

// ShortenFlights is for the tests of what comes too late.
func (v *Vault) ShortenFlights(to time.Duration) { v.flights.time = to }

// Due is for the test of when renewals are due.
func (v *Vault) Due(c *Connection) bool { return v.due(c) }
