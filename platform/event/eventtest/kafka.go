package eventtest

import (
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// KafkaMaxBytes is about the largest payload that Kafka takes by default, in
// bytes.
const KafkaMaxBytes = 1_000_000

// Kafka starts kfake, which speaks Kafka's protocol and keeps its data when it
// is killed.
func Kafka(t testing.TB) *Server {
	t.Helper()
	return serve(t, "kafka")
}

func serveKafka(folder, port string) (stop func(), err error) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(n), kfake.DataDir(folder), kfake.SyncWrites())
	if err != nil {
		return nil, err
	}
	return c.Close, nil
}
