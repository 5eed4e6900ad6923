package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"go.uber.org/zap"
)

// kafkaFlags say where the topics are, and how to log in.
type kafkaFlags struct {
	Kafka      []string `help:"Brokers to contact first." required:"" placeholder:"HOST:PORT"`
	topicFlags `group:"Kafka"`
}

// topicFlags are the kafkaFlags that have defaults.
type topicFlags struct {
	Prefix string `help:"First part of every topic's name." default:"pgtee"`
	loginFlags
}

// brokerFlags are for commands that take complete topic names.
type brokerFlags struct {
	Kafka []string `help:"Brokers to contact first." required:"" placeholder:"HOST:PORT"`
	loginFlags
}

// loginFlags say how to log in. Passwords and tokens come from files or the environment, where they do not appear in process listings.
type loginFlags struct {
	KafkaTLS  bool   `name:"kafka-tls" help:"Encrypt the connections to the brokers."`
	KafkaCA   string `name:"kafka-ca" help:"CA of the brokers' certificates, PEM; by default the system's." type:"path" placeholder:"FILE"`
	KafkaCert string `name:"kafka-cert" help:"Client certificate for the brokers, PEM." type:"path" placeholder:"FILE"`
	KafkaKey  string `name:"kafka-key" help:"Private key of --kafka-cert, PEM." type:"path" placeholder:"FILE"`

	KafkaSASL         string `name:"kafka-sasl" help:"How to log in: ${enum}." enum:"none,plain,scram-sha-256,scram-sha-512,oauthbearer" default:"none"`
	KafkaUser         string `help:"User of plain and scram." placeholder:"NAME"`
	KafkaPasswordFile string `help:"File with the password, or for oauthbearer the token; read at each login. Without this flag PGTEE_KAFKA_PASSWORD is used." type:"path" placeholder:"FILE"`
}

// options returns the options of every Kafka client.
func (f loginFlags) options() ([]kgo.Opt, error) {
	var options []kgo.Opt
	if f.KafkaTLS {
		files, err := readTLS("--kafka", f.KafkaCA, f.KafkaCert, f.KafkaKey)
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.Dialer(files.dial))
	} else if f.KafkaCA != "" || f.KafkaCert != "" || f.KafkaKey != "" {
		return nil, errors.New("--kafka-ca, --kafka-cert and --kafka-key need --kafka-tls")
	}
	mechanism, err := f.mechanism()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		options = append(options, kgo.SASL(mechanism))
	}
	return options, nil
}

// mechanism returns nil if no login is configured. The secret is read now, so that a missing one is reported immediately, and again at each login, so
// that it may be changed.
func (f loginFlags) mechanism() (sasl.Mechanism, error) {
	if f.KafkaSASL == "none" || f.KafkaSASL == "" {
		if f.KafkaUser != "" || f.KafkaPasswordFile != "" {
			return nil, errors.New("--kafka-user and --kafka-password-file need --kafka-sasl")
		}
		return nil, nil
	}
	if _, err := f.secret(); err != nil {
		return nil, err
	}
	if f.KafkaSASL == "oauthbearer" {
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := f.secret()
			return oauth.Auth{Token: token}, err
		}), nil
	}
	if f.KafkaUser == "" {
		return nil, fmt.Errorf("--kafka-sasl %s needs --kafka-user", f.KafkaSASL)
	}
	if f.KafkaSASL == "plain" {
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := f.secret()
			return plain.Auth{User: f.KafkaUser, Pass: password}, err
		}), nil
	}
	login := func(context.Context) (scram.Auth, error) {
		password, err := f.secret()
		return scram.Auth{User: f.KafkaUser, Pass: password}, err
	}
	if f.KafkaSASL == "scram-sha-256" {
		return scram.Sha256(login), nil
	}
	return scram.Sha512(login), nil
}

func (f loginFlags) secret() (string, error) {
	if f.KafkaPasswordFile == "" {
		if secret := os.Getenv("PGTEE_KAFKA_PASSWORD"); secret != "" {
			return secret, nil
		}
		return "", fmt.Errorf("--kafka-sasl %s: give the secret in --kafka-password-file or PGTEE_KAFKA_PASSWORD", f.KafkaSASL)
	}
	text, err := os.ReadFile(f.KafkaPasswordFile)
	if err != nil {
		return "", fmt.Errorf("--kafka-password-file: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// cluster says how to connect to the brokers.
type cluster struct {
	brokers []string
	options []kgo.Opt
}

func (f brokerFlags) open() (cluster, error) {
	options, err := f.options()
	return cluster{f.Kafka, options}, err
}

func (f kafkaFlags) open() (cluster, error) { return brokerFlags{f.Kafka, f.loginFlags}.open() }

// ping checks that the brokers respond.
func (k cluster) ping(ctx context.Context) error {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(k.brokers...), kgo.DialTimeout(5 * time.Second), kgo.RetryTimeout(10 * time.Second)}, k.options...)...)
	if err != nil {
		return fmt.Errorf("--kafka: %w: want HOST:PORT,…", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("cannot reach Kafka at %s: is it running, and are --kafka, --kafka-tls and --kafka-sasl right? (%w)", strings.Join(k.brokers, ","), err)
	}
	return nil
}

// warnUnlessReady logs, for a command that works without Kafka, that Kafka or the schema registry does not answer, and what it does meanwhile; "": nothing.
func (k cluster) warnUnlessReady(ctx context.Context, registry func(context.Context) error, meanwhile string, log *zap.Logger) {
	later := "what is written is published later"
	if meanwhile != "" {
		later += "; " + meanwhile
	}
	if err := k.ping(ctx); err != nil && ctx.Err() == nil {
		log.Warn("Kafka does not answer: "+later, zap.String("finding", "kafka-unreachable"), zap.Error(err))
	}
	if err := registry(ctx); err != nil && ctx.Err() == nil {
		log.Warn("the schema registry does not answer: "+later, zap.String("finding", "registry-unreachable"), zap.Error(err))
	}
}

// openAndPing is for commands that cannot work without Kafka.
func (f brokerFlags) openAndPing(ctx context.Context) (cluster, error) {
	k, err := f.open()
	if err == nil {
		err = k.ping(ctx)
	}
	if err != nil {
		return k, usage(err)
	}
	return k, nil
}

func (f kafkaFlags) openAndPing(ctx context.Context) (cluster, error) {
	return brokerFlags{f.Kafka, f.loginFlags}.openAndPing(ctx)
}
