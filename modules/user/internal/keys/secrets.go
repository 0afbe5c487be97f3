package keys

import "cleave/platform/fault"

// Seal encrypts a secret of the module as it does signing keys, bound to a name, and returns what it was encrypted with: "" for
// nothing, when no key-encryption key is configured.
func (r *Ring) Seal(name string, plain []byte) (sealed []byte, by string) {
	return r.sealer.seal(name, plain), r.sealer.name()
}

// Unseal is the reverse of Seal, also with the key-encryption key before the present one. With any other it fails with Invalid, code
// key_encryption_key.
func (r *Ring) Unseal(name, by string, sealed []byte) ([]byte, error) {
	switch by {
	case "":
		return sealed, nil
	case r.sealer.name():
		return r.sealer.open(name, sealed)
	case r.old.name():
		return r.old.open(name, sealed)
	default:
		return nil, fault.New(fault.Invalid, "key_encryption_key",
			"a secret is encrypted with another one than auth.key_encryption_key: give the one it was encrypted with as auth.key_encryption_key_old")
	}
}
