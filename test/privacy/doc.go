// Package privacy proves that deleting an account leaves nothing of the person behind, in no module.
package privacy
