"""Selection without a training loop: the coreset of any vectors or gradients, as arrays."""

import numpy as np
from sklearn.datasets import load_digits

import acs_fast as acs


def main() -> None:
    digits = load_digits()
    coreset = acs.facility_location(digits.data.astype(np.float32), 100, groups=digits.target)
    print(f"{len(coreset)} of {len(digits.data)} images; the first picks are {coreset.indices[:5].tolist()}")
    print(f"their clusters hold {coreset.weights[:5].int().tolist()} images")
    print(f"objective {coreset.stats['objective']:.1f}, backend {coreset.stats['backend']}")
    np.savez("coreset.npz", indices=coreset.indices, weights=coreset.weights)


if __name__ == "__main__":
    main()
