package outbox

import "testing"

// testSigner signs as the proxy of testPayload does.
var testSigner = MasterKey(testKey).Signer(testPayload(0).ProxyID)

func TestEachProxySignsWithAKeyOfItsOwn(t *testing.T) {
	note := Note{Payload: *testPayload(FlagQuery)}
	note.KeyID = MasterKey(testKey).ID()
	sign := func(proxy uint32) Note {
		signed := note
		signed.MAC = MasterKey(testKey).Signer(proxy).mac(note.appendSigned(nil), nil, note.SQL)
		return signed
	}
	v := newVerifier([]MasterKey{testKey})
	own, others := sign(note.ProxyID), sign(note.ProxyID+1)
	if !v.check(&own) || v.check(&others) {
		t.Errorf("own key: %t, another proxy's: %t", v.check(&own), v.check(&others))
	}
	for proxy := range uint32(3 * maxSigners) { // forged ids do not pile up
		forged := note
		forged.ProxyID = proxy
		v.check(&forged)
	}
	if len(v.signers) > maxSigners || !v.check(&own) {
		t.Errorf("%d signers are kept, own key: %t", len(v.signers), v.check(&own))
	}
}
