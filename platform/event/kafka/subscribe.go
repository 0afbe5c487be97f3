package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/IBM/sarama"

	"cleave/platform/event"
)

// Subscribe commits a first position for each subscription's group, so that it
// misses nothing before it receives for the first time.
func (p *Pipe) Subscribe(_ context.Context, subs []event.Subscription) error {
	sources := make([]string, len(subs))
	for i, s := range subs {
		sources[i] = s.Source
	}
	if err := p.ensureTopics(sources...); err != nil {
		return err
	}
	return p.admin(func(client sarama.Client, admin sarama.ClusterAdmin) error {
		for _, s := range subs {
			if err := p.position(client, admin, s); err != nil {
				return failed("subscribe "+s.Subscriber+" to topic "+p.topic(s.Source), err)
			}
		}
		return nil
	})
}

// position commits where s begins in those partitions that it has none for.
func (p *Pipe) position(client sarama.Client, admin sarama.ClusterAdmin, s event.Subscription) error {
	topic, group := p.topic(s.Source), p.group(s.Subscriber)
	partitions, err := client.Partitions(topic)
	if err != nil {
		return err
	}
	has, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: partitions})
	if err != nil {
		return err
	}
	from := sarama.OffsetNewest
	if s.History {
		from = sarama.OffsetOldest
	}
	commit := &sarama.OffsetCommitRequest{Version: 2, ConsumerGroup: group, ConsumerGroupGeneration: sarama.GroupGenerationUndefined, RetentionTime: sarama.ReceiveTime}
	missing := false
	for _, partition := range partitions {
		if block := has.GetBlock(topic, partition); block != nil && block.Offset >= 0 {
			continue
		}
		offset, err := client.GetOffset(topic, partition, from)
		if err != nil {
			return err
		}
		commit.AddBlock(topic, partition, offset, sarama.ReceiveTime, "")
		missing = true
	}
	if !missing {
		return nil
	}
	coordinator, err := client.Coordinator(group)
	if err != nil {
		return err
	}
	answer, err := coordinator.CommitOffset(commit)
	if err != nil {
		return err
	}
	for partition, code := range answer.Errors[topic] {
		if !errors.Is(code, sarama.ErrNoError) {
			return fmt.Errorf("commit the position in partition %d: %w", partition, code)
		}
	}
	return nil
}

// ensureTopics makes the topics of modules unless they exist.
func (p *Pipe) ensureTopics(sources ...string) error {
	var missing []string
	p.mu.Lock()
	for _, s := range sources {
		if t := p.topic(s); !p.topics[t] {
			missing = append(missing, t)
		}
	}
	p.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	return p.admin(func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		for _, topic := range missing {
			retention := strconv.FormatInt(p.o.Retention.Milliseconds(), 10)
			err := admin.CreateTopic(topic, &sarama.TopicDetail{
				NumPartitions: int32(p.o.Partitions), ReplicationFactor: int16(p.o.Replicas),
				ConfigEntries: map[string]*string{"retention.ms": &retention},
			}, false)
			if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
				return failed("make topic "+topic, err)
			}
			p.mu.Lock()
			p.topics[topic] = true
			p.mu.Unlock()
		}
		return nil
	})
}
