package integration

// What the tests of this package share, for those that use packages which import it.
var (
	SharedBinary   = sharedBinary
	SharedBroker   = sharedBroker
	SharedPostgres = sharedPostgres
	SharedRegistry = sharedRegistry
	World          = &world
)
