package auth

// OutcomeUnknown is for the tests that need a real server.
var OutcomeUnknown = outcomeUnknown
