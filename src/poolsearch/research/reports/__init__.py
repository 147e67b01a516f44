"""Pages of what ``poolsearch.research`` makes: reads its folders only, imports no torch and nothing else of the
research but the samplers' bench.
"""
