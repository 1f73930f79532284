"""OptInter: per pair of fields memorise, factorise or nothing (Lyu et al., ICDE 2022)."""
