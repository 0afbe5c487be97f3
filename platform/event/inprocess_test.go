package event_test

import (
	"testing"

	"cleave/platform/event"
	"cleave/platform/event/eventtest"
)

func TestInProcess(t *testing.T) {
	eventtest.Exercise(t, eventtest.Broker{Open: func(testing.TB) event.Pipe { return event.NewInProcess() }})
}
