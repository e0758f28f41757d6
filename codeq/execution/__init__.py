"""Who trains where: Ray and Tune run the trials that `codeq.search` proposes, each by itself or many in a pack."""
