package kafka

import "github.com/twmb/franz-go/pkg/kgo"

// partitioner puts a record where the Java client would by its key (murmur2). Records without a key
// stay in partition 0, for their order counts too.
func partitioner() kgo.Partitioner {
	byKey := kgo.StickyKeyPartitioner(nil)
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		murmur2 := byKey.ForTopic(topic)
		return func(r *kgo.Record, partitions int) int {
			if r.Partition < 0 {
				return int(^r.Partition) // see inPartition
			}
			if r.Key == nil {
				return 0
			}
			return murmur2.Partition(r, partitions)
		}
	})
}

// inPartition marks a record for a partition, whatever its key; the zero value of kgo.Record.Partition lets the key decide.
func inPartition(partition int) int32 { return ^int32(partition) }
