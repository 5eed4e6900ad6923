package verdict

import (
	"fmt"
	"slices"
	"strings"
)

// Wanted reports whether to read a topic, and under which name to return it.
type Wanted func(topic string) (name string, wanted bool)

// Only wants these topics, under their own names.
func Only(topics ...string) Wanted {
	return func(topic string) (string, bool) { return topic, slices.Contains(topics, topic) }
}

// Under wants the topics of a prefix, under the names that follow it.
func Under(prefix string) Wanted {
	return func(topic string) (string, bool) { return strings.CutPrefix(topic, prefix+".") }
}

// Read reads topics from their start up to their current ends. The records, whatever their fate, are sorted by partition, then by offset.
func Read(broker string, wanted Wanted) (map[string][]Record, error) {
	w, err := newWitness(broker)
	if err != nil {
		return nil, err
	}
	defer w.close()
	all, err := w.topics()
	if err != nil {
		return nil, err
	}
	topics := map[string][]Record{}
	for topic, partitions := range all {
		name, ok := wanted(topic)
		if !ok {
			continue
		}
		if topics[name], err = w.read(topic, partitions); err != nil {
			return nil, err
		}
	}
	return topics, nil
}

// ReadDecided returns the committed records of topics, and the number of those whose Kafka transaction was aborted. It fails while a transaction is
// open: Kafka writes its markers partition by partition, so what is visible in one partition may still be open in another.
func ReadDecided(broker string, wanted Wanted) (topics map[string][]Record, aborted int, err error) {
	if topics, err = Read(broker, wanted); err != nil {
		return nil, 0, err
	}
	for name, records := range topics {
		for _, r := range records {
			switch r.Fate {
			case Aborted:
				aborted++
			case Open:
				return nil, 0, fmt.Errorf("the record at offset %d of topic %s/%d is undecided", r.Offset, r.Topic, r.Partition)
			}
		}
		topics[name] = Visible(records)
	}
	return topics, aborted, nil
}

// Partitions returns the number of partitions of every topic of the cluster.
func Partitions(broker string) (map[string]int, error) {
	w, err := newWitness(broker)
	if err != nil {
		return nil, err
	}
	defer w.close()
	all, err := w.topics()
	numbers := map[string]int{}
	for topic, partitions := range all {
		numbers[topic] = len(partitions)
	}
	return numbers, err
}
