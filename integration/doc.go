// Package integration drives the built binary against real PostgreSQL and a real Apache Kafka broker. Expected results never come from the program
// under test: package verdict judges the topics.
package integration
