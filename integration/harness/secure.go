package harness

import "fmt"

// SecureListener is an additional listener of a broker: TLS, and SASL with PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and unsigned OAUTHBEARER tokens. Its user
// may do everything until there is an ACL; clients of the other listeners, which do not log in, always may.
type SecureListener struct {
	Address        string // HOST:PORT
	Cert, Key, CA  string // of the broker, and the CA that signed it: PEM, with \n for each end of line
	User, Password string
}

const secureConfig = `
listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%[1]s="%[2]s";
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="%[1]s";
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.certificate.chain=%[3]s
listener.name.secure.ssl.keystore.key=%[4]s
listener.name.secure.ssl.truststore.type=PEM
listener.name.secure.ssl.truststore.certificates=%[5]s
listener.name.secure.ssl.client.auth=requested
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
`

// StartSecureKafka starts a broker with this additional listener.
func (w *World) StartSecureKafka(l *SecureListener) (*Kafka, error) {
	extra := listeners{
		listen: ",SECURE://" + l.Address, advertised: ",SECURE://" + l.Address, protocols: ",SECURE:SASL_SSL",
		properties: fmt.Sprintf(secureConfig, l.User, l.Password, l.Cert, l.Key, l.CA),
	}
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} { // stored in the metadata from the start
		extra.format = append(extra.format, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, l.User, l.Password))
	}
	return w.startOne(extra)
}
